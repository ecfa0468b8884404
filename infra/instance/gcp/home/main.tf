# A person's home: one bucket that outlives every service that mounts it.
#
# It goes with `desired_state = absent` and in no other way: what would make Terraform replace the bucket is ignored once
# it is there.

resource "google_storage_bucket" "home" {
  # checkov:skip=CKV_GCP_62: who reads buckets is logged by Cloud Audit Logs, which the project switches on for all of them
  # checkov:skip=CKV_GCP_78: every save is a whole new object, so versions would multiply the bill, and what a person deleted would stay
  name     = var.name
  project  = var.project_id
  location = var.region
  labels   = merge(var.labels, { "nightingale-part" = "home" })

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # An instance that is deleted takes its home with it, and nothing stays behind that no instance owns.
  force_destroy = true

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle {
    ignore_changes = [name, project, location, encryption]

    postcondition {
      condition     = lower(self.location) == lower(var.region)
      error_message = "The home ${self.name} lies in ${self.location} and the network names ${var.region}. A bucket cannot leave its region: put its region back into the place's network."
    }
  }
}

resource "google_storage_bucket_iam_member" "instance" {
  bucket = google_storage_bucket.home.name
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${var.account}"
}
