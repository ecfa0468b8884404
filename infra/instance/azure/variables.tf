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
  description = "The size as Azure calls it, such as Standard_D4s_v5 or Standard_NC24ads_A100_v4."
  type        = string

  validation {
    condition     = can(regex("^Standard_[A-Za-z0-9_-]+$", var.machine_type))
    error_message = "machine_type must be a size of Azure's, such as Standard_D4s_v5."
  }
}

variable "image" {
  description = "Id of the image, or of an image version in a gallery, that holds the platform's image, cloud-init and azure-vm-utils."
  type        = string

  validation {
    condition     = can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Compute/(images/[^/]+|galleries/[^/]+/images/[^/]+(/versions/[^/]+)?)$", var.image))
    error_message = "image must be the id of an image or of a gallery's image in Azure: /subscriptions/…/providers/Microsoft.Compute/…"
  }
}

variable "desired_state" {
  description = "running, stopped (the home stays) or absent (the home goes too)."
  type        = string

  validation {
    condition     = contains(["running", "stopped", "absent"], var.desired_state)
    error_message = "desired_state must be running, stopped or absent."
  }
}

variable "generation" {
  description = "Counts the builds: a higher one replaces a machine that runs, even when Terraform believes that it is well."
  type        = number

  validation {
    condition     = var.generation >= 0 && floor(var.generation) == var.generation
    error_message = "generation must be a whole number, 0 or more."
  }
}

variable "spot" {
  description = "Spare capacity at a lower price, which Azure may take back with thirty seconds' notice."
  type        = bool
  default     = false
  nullable    = false
}

variable "root_gib" {
  description = "Size of the system disk in GiB; 0: as large as the image's own."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.root_gib >= 0 && floor(var.root_gib) == var.root_gib
    error_message = "root_gib must be a whole number, 0 or more."
  }
}

variable "home_gib" {
  description = "Size of the home in GiB. It grows and never shrinks."
  type        = number

  validation {
    condition     = var.home_gib >= 1 && var.home_gib <= 32767 && floor(var.home_gib) == var.home_gib
    error_message = "home_gib must be a whole number from 1 to 32767, the largest standard disk."
  }
}

variable "home_snapshot_id" {
  description = "Snapshot that a new home is made from; without effect on a home that is there. Empty: a blank home."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Compute/snapshots/[^/]+)?$", var.home_snapshot_id))
    error_message = "home_snapshot_id must be a snapshot's id in Azure, or empty."
  }
}

variable "datasets" {
  description = "Datasets mounted read-only at /data/<dataset>. Here source is snapshot: and a snapshot's id."
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

  # A copy of a snapshot is a disk of the machine's own, which the observer can watch: every tier may lie on one.
  validation {
    condition     = alltrue([for d in var.datasets : can(regex("^snapshot:/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Compute/snapshots/[^/]+$", d.source))])
    error_message = "A dataset's source in Azure must be snapshot:/subscriptions/…/providers/Microsoft.Compute/snapshots/… File shares and blobs are not offered: reads over a network cannot be watched."
  }

  validation {
    condition     = length(distinct([for d in var.datasets : d.dataset])) == length(var.datasets)
    error_message = "A dataset can be mounted once only, in one version."
  }

  # The smallest sizes take fewer; Azure says so then.
  validation {
    condition     = length(var.datasets) <= 31
    error_message = "A machine takes 31 datasets at most beside its home."
  }
}

variable "tags" {
  description = "Labels on everything that is made, for Azure's bill."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "kms_key" {
  description = "Id of the disk encryption set of all disks; null: keys that Azure manages. A home keeps the key that it was made with."
  type        = string
  default     = null
}

variable "network" {
  description = "What only Azure knows; see README.md. Nothing in it is secret."
  type = object({
    location       = string
    resource_group = string
    subnet_id      = string
    gateway_cidr   = string
    api_cidrs      = list(string)
    api_url        = string
    audience       = string
    owner_uid      = optional(number)
    container      = optional(string)
  })

  validation {
    condition     = can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", var.network.subnet_id))
    error_message = "network.subnet_id must be a subnet's id in Azure."
  }

  # The only word of the machine's that Azure is asked with.
  validation {
    condition     = can(regex("^api://[A-Za-z0-9._~/-]{1,200}$", var.network.audience))
    error_message = "network.audience must be the id URI of the application that machines' tokens are made out to: api://…"
  }

  validation {
    condition     = can(cidrnetmask(var.network.gateway_cidr)) && try(tonumber(split("/", var.network.gateway_cidr)[1]) >= 16, false)
    error_message = "network.gateway_cidr must be the gateway's IPv4 range, /16 or narrower: whoever is in it reaches every instance."
  }

  validation {
    condition     = startswith(var.network.api_url, "https://")
    error_message = "network.api_url must be an https URL: what the instance says and hears there must not be read or changed."
  }

  # A wide range here would be the way out that the whole design closes.
  validation {
    condition = length(var.network.api_cidrs) > 0 && alltrue([
      for cidr in var.network.api_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "network.api_cidrs must name where the API is reached, as IPv4 ranges of /16 or narrower: it is all that an instance can reach."
  }
}
