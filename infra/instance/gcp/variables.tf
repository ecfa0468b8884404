# The same variables in every place (infra/instance/README.md); `network` is the one whose shape differs.

variable "instance_id" {
  description = "The instance's id."
  type        = string

  validation {
    condition     = can(regex("^i-[a-z0-9]{10}$", var.instance_id))
    error_message = "instance_id must be i- and ten characters of a-z and 0-9."
  }
}

variable "name" {
  description = "The instance's name, as its owner calls it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name must be lower case letters, digits and dashes, at most 32."
  }
}

variable "owner" {
  description = "The person whose instance this is; the account's name inside it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.owner))
    error_message = "owner must be lower case letters, digits and dashes, at most 32."
  }
}

variable "project" {
  description = "The project that the instance works for."
  type        = string
}

variable "machine_type" {
  description = "The size: c<cores>-m<memory MiB>-g<GPUs>, such as c8-m32768-g1. Cloud Run gives a service its cores and memory freely, up to a limit."
  type        = string

  validation {
    condition     = can(regex("^c[1-8]-m[1-9][0-9]{2,4}-g[01]$", var.machine_type)) && try(tonumber(regex("-m([0-9]+)-", var.machine_type)[0]) <= { c1 = 4096, c2 = 8192, c4 = 16384, c6 = 24576, c8 = 32768 }[split("-", var.machine_type)[0]], false)
    error_message = "machine_type must be like c8-m32768-g1, and Cloud Run has 1, 2, 4, 6 or 8 cores, for these 4, 8, 16, 24 or 32 GiB of memory at most, and one GPU or none."
  }

  validation {
    condition     = !endswith(var.machine_type, "-g1") || (can(regex("^c[468]-", var.machine_type)) && try(tonumber(regex("-m([0-9]+)-", var.machine_type)[0]) >= 16384, false))
    error_message = "With a GPU Cloud Run asks for 4 cores and 16 GiB of memory at least."
  }
}

variable "image" {
  description = "The container image, by its digest or tag in Artifact Registry."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+-docker\\.pkg\\.dev/[a-z0-9.:-]+(/[a-z0-9._-]+)+([:@][A-Za-z0-9._:-]+)?$", var.image))
    error_message = "image must be a container in Artifact Registry, such as europe-west4-docker.pkg.dev/project/repository/notebook@sha256:…"
  }
}

variable "desired_state" {
  description = "running or absent (the home goes too). Cloud Run has no stop."
  type        = string

  validation {
    condition     = contains(["running", "stopped", "absent"], var.desired_state)
    error_message = "desired_state must be running, stopped or absent."
  }

  validation {
    condition     = var.desired_state != "stopped"
    error_message = "Cloud Run has no machine that could be stopped and kept. Leave the instance running, or copy what you need out of its home and delete it."
  }
}

variable "generation" {
  description = "Counts the builds: a higher one is a new revision with a new container, even when Terraform believes that it is well."
  type        = number

  validation {
    condition     = var.generation >= 0 && floor(var.generation) == var.generation
    error_message = "generation must be a whole number, 0 or more."
  }
}

variable "spot" {
  description = "Spare capacity that may be taken away. Not offered here."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.spot
    error_message = "Cloud Run has no spot services."
  }
}

variable "root_gib" {
  description = "Size of the system disk in GiB. Without effect here: what is not home lies in memory."
  type        = number
  default     = 0
  nullable    = false
}

variable "home_gib" {
  description = "Size of the home in GiB. Without effect here: a bucket grows as it is filled, and is billed by what is in it."
  type        = number

  validation {
    condition     = var.home_gib >= 1
    error_message = "home_gib must be 1 or more."
  }
}

variable "home_snapshot_id" {
  description = "Snapshot that a new home is made from. Not offered here."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.home_snapshot_id == ""
    error_message = "Buckets have no snapshots: copy the files instead."
  }
}

variable "datasets" {
  description = "Datasets mounted read-only at /data/<dataset>. Here source is gcs:bucket or gcs:bucket/prefix."
  type = list(object({
    dataset = string
    version = string
    tier    = number
    source  = string
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for d in var.datasets : contains([0, 1, 2, 3], d.tier)])
    error_message = "A dataset's tier must be 0, 1, 2 or 3."
  }

  validation {
    condition     = alltrue([for d in var.datasets : can(regex("^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$", d.dataset))])
    error_message = "A dataset's name must be lower case letters, digits, dots, dashes and underscores, at most 64: it becomes a folder."
  }

  validation {
    condition     = alltrue([for d in var.datasets : can(regex("^gcs:[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$", d.source)) && !can(regex("\\.\\.", d.source))])
    error_message = "A dataset's source in Google Cloud must be gcs:bucket or gcs:bucket/prefix, with plain characters in the path."
  }

  # A bucket is read through Google's own FUSE, outside of the container: the observer of the other places cannot watch it.
  validation {
    condition     = alltrue([for d in var.datasets : d.tier <= 1])
    error_message = "Datasets of tier 2 and 3 are not mounted in Cloud Run: reads cannot be recorded as surely, and there is no second factor at the door. Launch in another place."
  }

  validation {
    condition     = length(distinct([for d in var.datasets : d.dataset])) == length(var.datasets)
    error_message = "A dataset can be mounted once only, in one version."
  }
}

variable "tags" {
  description = "Labels on everything that is made, for Google's bill."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "kms_key" {
  description = "Name of the Cloud KMS key of the home's bucket and the container's image; null: keys that Google manages. A home keeps the key that it was made with."
  type        = string
  default     = null
}

variable "network" {
  description = "What only Google Cloud knows; see README.md. Nothing in it is secret."
  type = object({
    project_id      = string
    region          = string
    network         = string
    subnet          = string
    service_account = string
    api_url         = string
    api_cidrs       = list(string)
    google_apis     = optional(string, "private")
    owner_uid       = optional(number)
    container       = optional(string)
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.network.project_id))
    error_message = "network.project_id must be a Google Cloud project's id."
  }

  validation {
    condition     = can(regex("^[^@]+@[^@]+\\.gserviceaccount\\.com$", var.network.service_account))
    error_message = "network.service_account must be the gateway's service account: the only one that may call an instance."
  }

  validation {
    condition     = startswith(var.network.api_url, "https://")
    error_message = "network.api_url must be an https URL: what the instance says and hears there must not be read or changed."
  }

  validation {
    condition     = length(var.network.api_cidrs) > 0 && alltrue([for one in var.network.api_cidrs : can(cidrnetmask(one)) && try(tonumber(split("/", one)[1]) >= 16, false)])
    error_message = "network.api_cidrs must name where the API is reached: IPv4 ranges, each /16 or narrower. It is all that an instance reaches beside Google's own services."
  }

  validation {
    condition     = contains(["private", "restricted"], var.network.google_apis)
    error_message = "network.google_apis must be private (private.googleapis.com) or restricted (restricted.googleapis.com, behind VPC Service Controls)."
  }
}
