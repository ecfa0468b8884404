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
  description = "The size as this place calls it: c<cores>-m<memory MiB>-g<GPUs>, such as c2-m4096-g0."
  type        = string

  validation {
    condition     = can(regex("^c[1-9][0-9]{0,3}-m[1-9][0-9]{2,7}-g[0-9]{1,2}$", var.machine_type))
    error_message = "machine_type must be like c2-m4096-g0: cores, memory in MiB (at least 100), GPUs."
  }

  validation {
    condition     = !can(regex("-g0*[1-9]", var.machine_type))
    error_message = "The local place has no GPUs: choose the size none."
  }
}

variable "image" {
  description = "The image. Here: the absolute path of the interpreter of the image's environment."
  type        = string

  validation {
    condition     = startswith(var.image, "/")
    error_message = "image must be the absolute path of a Python interpreter in the local place."
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
  description = "Counts the starts: a higher one replaces what runs, even when Terraform believes that it is up."
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

  validation {
    condition     = !var.spot
    error_message = "The local place has no spot machines."
  }
}

variable "root_gib" {
  description = "Size of the system disk in GiB. Without effect here: the image is this machine's own."
  type        = number
  default     = 0
}

variable "home_gib" {
  description = "Size of the home in GiB: as root a file system of that size, which grows and never shrinks; else a folder without a limit."
  type        = number

  validation {
    condition     = var.home_gib >= 1
    error_message = "home_gib must be 1 or more."
  }
}

variable "home_snapshot_id" {
  description = "Snapshot that the home is made from. Not offered here."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.home_snapshot_id == ""
    error_message = "The local place has no snapshots of home folders."
  }
}

variable "datasets" {
  description = "Datasets mounted read-only at /data/<dataset>. Here source is an absolute path of this machine."
  type = list(object({
    dataset = string
    version = string
    tier    = number
    source  = string
  }))
  default = []

  validation {
    condition     = alltrue([for d in var.datasets : contains([0, 1, 2, 3], d.tier)])
    error_message = "A dataset's tier must be 0, 1, 2 or 3."
  }

  validation {
    condition     = alltrue([for d in var.datasets : startswith(d.source, "/")])
    error_message = "A dataset's source must be an absolute path in the local place."
  }

  validation {
    condition     = length(distinct([for d in var.datasets : d.dataset])) == length(var.datasets)
    error_message = "A dataset can be mounted once only, in one version."
  }
}

variable "tags" {
  description = "Labels for the place's own bill. Kept in the state only here."
  type        = map(string)
  default     = {}
}

variable "kms_key" {
  description = "Key of all disks, as the place calls it. Without effect here: encrypt this machine's own disk."
  type        = string
  default     = null
}

variable "network" {
  description = "The local place's own settings: the platform's data folder, the launcher's command as a list, the owner's uid and a container image to take where it can be (root profile)."
  type = object({
    data_dir  = string
    launcher  = list(string)
    owner_uid = optional(number)
    container = optional(string)
  })

  validation {
    condition     = startswith(var.network.data_dir, "/") && length(var.network.launcher) > 0
    error_message = "network needs an absolute data_dir and the launcher's command."
  }
}
