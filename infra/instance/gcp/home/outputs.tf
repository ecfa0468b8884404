output "name" {
  description = "The bucket's name."
  value       = google_storage_bucket.home.name

  # Whoever mounts it waits until it may.
  depends_on = [google_storage_bucket_iam_member.instance]
}
