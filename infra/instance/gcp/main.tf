# One instance in Google Cloud: a Cloud Run service with a GPU, experimental. README.md says what it cannot do.
#
#                  home bucket   account   service
#   running        yes           yes       one container, always on
#   absent         no            no        no
#
# There is no `stopped`: Cloud Run has no machine that could be kept.

provider "google" {
  project = var.network.project_id
  region  = var.network.region
}

locals {
  is_running = var.desired_state == "running"
  port       = 8888
  label      = "nightingale-${var.instance_id}"
  size       = regex("^c(?P<cores>[0-9]+)-m(?P<memory_mib>[0-9]+)-g(?P<gpus>[0-9]+)$", var.machine_type)
  has_gpu    = local.size.gpus == "1"
  image      = var.network.container == null ? var.image : var.network.container

  # Google's labels take lower case letters, digits, dashes and underscores only.
  labels = merge({ for name, value in var.tags : replace(lower(name), "/[^a-z0-9_-]/", "-") => replace(lower(value), "/[^a-z0-9_-]/", "-") }, {
    "nightingale-instance" = var.instance_id
    "nightingale-owner"    = var.owner
    "nightingale-project"  = replace(lower(var.project), "/[^a-z0-9_-]/", "-")
  })

  # The strictest of what is mounted decides.
  tier = max(concat([0], [for d in var.datasets : d.tier])...)

  # gcs:bucket/prefix
  bucket = { for d in var.datasets : d.dataset => split("/", trimprefix(d.source, "gcs:"))[0] }
  prefix = { for d in var.datasets : d.dataset => join("/", slice(split("/", d.source), 1, length(split("/", d.source)))) }
  volume = { for index, name in sort(keys(local.bucket)) : name => "data-${index}" }

  # Whose firewall it is: a network that is shared lies in a project of its own.
  firewall_project = can(regex("projects/[^/]+/", var.network.network)) ? regex("projects/([^/]+)/", var.network.network)[0] : var.network.project_id

  # Where Google's own services answer inside a network, by the names' usual zones: cloud.google.com/vpc/docs/configure-private-google-access
  google_cidr = { private = "199.36.153.8/30", restricted = "199.36.153.4/30" }[var.network.google_apis]

  # What the container is told, in the form that every cloud's machine is told it. It carries no secret.
  told = {
    format      = 1
    place       = "gcp"
    region      = var.network.region
    instance_id = var.instance_id
    name        = var.name
    owner       = var.owner
    owner_uid   = var.network.owner_uid
    project     = var.project
    tier        = local.tier
    image       = var.image
    container   = var.network.container
    api_url     = var.network.api_url
    port        = local.port
    is_spot     = false
    home = {
      device           = null
      mount            = "/home/${var.owner}"
      is_from_snapshot = false
    }
    datasets = [
      for d in var.datasets : {
        dataset = d.dataset
        version = d.version
        tier    = d.tier
        kind    = "mounted"
        source  = d.source
        mount   = "/data/${d.dataset}"
      }
    ]
  }
}

# An account of its own: an instance reads its own home and datasets, and proves which instance it is, by no other's.
resource "google_service_account" "instance" {
  count = local.is_running ? 1 : 0

  project      = var.network.project_id
  account_id   = local.label
  display_name = "Nightingale instance ${var.instance_id}"
}

module "home" {
  source = "./home"
  count  = local.is_running ? 1 : 0

  name       = "${var.network.project_id}-${var.instance_id}-home"
  project_id = var.network.project_id
  region     = var.network.region
  kms_key    = var.kms_key
  account    = google_service_account.instance[0].email
  labels     = local.labels
}

# Only the dataset's own folder of its bucket, and only to read.
resource "google_storage_bucket_iam_member" "dataset" {
  for_each = local.is_running ? local.bucket : {}

  bucket = each.value
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.instance[0].email}"

  condition {
    title      = "${local.label}-${local.volume[each.key]}"
    expression = "resource.type != 'storage.googleapis.com/Object' || resource.name.startsWith('projects/_/buckets/${each.value}/objects/${local.prefix[each.key] == "" ? "" : "${local.prefix[each.key]}/"}')"
  }
}

# The network is closed to whatever carries this instance's tag: two ways out, and then nothing, of IPv6 nothing at all.
# Before all that anybody else allows: Google takes the lowest number first.
resource "google_compute_firewall" "ways" {
  count = local.is_running ? 1 : 0

  name               = "${local.label}-ways"
  description        = "What the instance may reach: the API, and Google's services for its buckets"
  project            = local.firewall_project
  network            = var.network.network
  direction          = "EGRESS"
  priority           = 10
  target_tags        = [local.label]
  destination_ranges = concat(var.network.api_cidrs, [local.google_cidr])

  allow {
    protocol = "tcp"
    ports    = ["443"]
  }
}

resource "google_compute_firewall" "closed" {
  for_each = local.is_running ? { v4 = "0.0.0.0/0", v6 = "::/0" } : {}

  name               = "${local.label}-closed-${each.key}"
  description        = "Nothing else leaves the instance"
  project            = local.firewall_project
  network            = var.network.network
  direction          = "EGRESS"
  priority           = 20
  target_tags        = [local.label]
  destination_ranges = [each.value]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_cloud_run_v2_service" "instance" {
  count = local.is_running ? 1 : 0

  name                = local.label
  project             = var.network.project_id
  location            = var.network.region
  labels              = local.labels
  deletion_protection = false # `absent` must be able to take it

  # From inside the network only, and with a token of the gateway's account (below).
  ingress              = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  invoker_iam_disabled = false
  default_uri_disabled = false

  template {
    # A new generation is a new revision, so a retry is a new container, whatever Terraform believes.
    labels                           = merge(local.labels, { "nightingale-generation" = tostring(var.generation) })
    service_account                  = google_service_account.instance[0].email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    encryption_key                   = var.kms_key
    timeout                          = "3600s" # the longest that there is: a WebSocket ends after it
    max_instance_request_concurrency = 1000
    gpu_zonal_redundancy_disabled    = local.has_gpu ? true : null

    # One container and always one: it is one person's, and its kernels live in its memory.
    scaling {
      min_instance_count = 1
      max_instance_count = 1
    }

    dynamic "node_selector" {
      for_each = local.has_gpu ? ["nvidia-l4"] : []
      content {
        accelerator = node_selector.value
      }
    }

    # Everything goes through the network, which is closed to the instance's tag (above).
    vpc_access {
      egress = "ALL_TRAFFIC"

      network_interfaces {
        network    = var.network.network
        subnetwork = var.network.subnet
        tags       = ["nightingale-instance", local.label]
      }
    }

    containers {
      name  = "jupyter"
      image = local.image

      # There is no disk to write the file on before the start: the container writes it for itself.
      command = ["/bin/sh", "-ec"]
      args = [
        "mkdir -p /etc/nightingale && printf %s \"$NIGHTINGALE_TOLD\" >/etc/nightingale/instance.json && exec python -m nightingale_build.boot /etc/nightingale/instance.json",
      ]

      env {
        name  = "NIGHTINGALE_TOLD"
        value = jsonencode(local.told)
      }

      ports {
        container_port = local.port
      }

      resources {
        limits = merge(
          { cpu = local.size.cores, memory = "${local.size.memory_mib}Mi" },
          local.has_gpu ? { "nvidia.com/gpu" = "1" } : {},
        )
        cpu_idle = false # a cell computes between requests too
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 48

        tcp_socket {
          port = local.port
        }
      }

      volume_mounts {
        name       = "home"
        mount_path = "/home/${var.owner}"
      }

      dynamic "volume_mounts" {
        for_each = local.volume
        content {
          name       = volume_mounts.value
          mount_path = "/data/${volume_mounts.key}"
        }
      }
    }

    volumes {
      name = "home"

      gcs {
        bucket    = module.home[0].name
        read_only = false
      }
    }

    dynamic "volumes" {
      for_each = local.volume
      content {
        name = volumes.value

        gcs {
          bucket        = local.bucket[volumes.key]
          read_only     = true
          mount_options = local.prefix[volumes.key] == "" ? null : ["only-dir=${local.prefix[volumes.key]}"]
        }
      }
    }
  }

  # It mounts at its start, and does not start without; nor before the network is closed to it.
  depends_on = [
    google_storage_bucket_iam_member.dataset,
    google_compute_firewall.ways,
    google_compute_firewall.closed,
  ]
}

# The binding is the whole list of who may call the service: one that was added by hand is taken out by the next build.
resource "google_cloud_run_v2_service_iam_binding" "invoker" {
  count = local.is_running ? 1 : 0

  project  = var.network.project_id
  location = var.network.region
  name     = google_cloud_run_v2_service.instance[0].name
  role     = "roles/run.invoker"
  members  = ["serviceAccount:${var.network.service_account}"]
}
