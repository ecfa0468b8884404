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
  description = "The size as EC2 calls it, such as m7i.large or g6.xlarge. It must be of the Nitro system."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.machine_type))
    error_message = "machine_type must be an EC2 instance type, such as m7i.large."
  }

  # Older machines name their disks otherwise and take no encrypted home of every kind.
  validation {
    condition     = !can(regex("^(t1|t2|m1|m2|m3|m4|c1|c3|c4|r3|r4|i2|d2|g2|g3|g3s|p2|p3|x1|x1e|f1|h1)\\.", var.machine_type))
    error_message = "machine_type must be of the Nitro system: this family is older. Choose a newer one, such as m7i or g6."
  }
}

variable "image" {
  description = "The machine image (AMI) that infra/packer made: it holds the platform's image."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.image))
    error_message = "image must be an AMI's id in AWS, such as ami-0123456789abcdef0."
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
  description = "Spare capacity at a lower price, which AWS may take back with two minutes' notice."
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
    condition     = var.home_gib >= 1 && var.home_gib <= 16384 && floor(var.home_gib) == var.home_gib
    error_message = "home_gib must be a whole number from 1 to 16384, the largest gp3 disk."
  }
}

variable "home_snapshot_id" {
  description = "EBS snapshot that a new home is made from; without effect on a home that is there. Empty: a blank home."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(snap-[0-9a-f]{8,17})?$", var.home_snapshot_id))
    error_message = "home_snapshot_id must be an EBS snapshot's id, such as snap-0123456789abcdef0, or empty."
  }
}

variable "datasets" {
  description = "Datasets mounted read-only at /data/<dataset>. Here source is ebs:snap-…, efs:fs-…:/path or s3:bucket/prefix."
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
    condition = alltrue([
      for d in var.datasets : can(regex(join("|", [
        "^ebs:snap-[0-9a-f]{8,17}$",
        "^efs:fs-[0-9a-f]{8,17}:/[A-Za-z0-9._/-]*$",
        "^s3:[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$",
      ]), d.source)) && !can(regex("\\.\\.", d.source))
    ])
    error_message = "A dataset's source in AWS must be ebs:snap-…, efs:fs-…:/path or s3:bucket/prefix, with plain characters in the path."
  }

  # The observer marks a local file system and knows its files by inode and checksum: neither holds over a network.
  validation {
    condition     = alltrue([for d in var.datasets : d.tier == 0 || startswith(d.source, "ebs:")])
    error_message = "From tier 1 on every read is recorded, and that takes a disk: in AWS such a dataset's source must be ebs:snap-…. EFS and S3 serve tier 0 only."
  }

  validation {
    condition     = length(distinct([for d in var.datasets : d.dataset])) == length(var.datasets)
    error_message = "A dataset can be mounted once only, in one version."
  }

  validation {
    condition     = length([for d in var.datasets : d if startswith(d.source, "ebs:")]) <= 10
    error_message = "A machine takes ten datasets on disks at most: EC2 recommends the names sdf to sdp, and one is the home's."
  }
}

variable "tags" {
  description = "Labels on everything that is made, for AWS's bill."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "kms_key" {
  description = "ARN of the KMS key of all disks; null: the account's own key for EBS. A home keeps the key that it was made with."
  type        = string
  default     = null
}

variable "network" {
  description = "What only AWS knows; see README.md. Nothing in it is secret."
  type = object({
    region                    = string
    vpc_id                    = string
    subnet_id                 = string
    availability_zone         = string
    gateway_security_group_id = optional(string)
    api_security_group_id     = optional(string)
    gateway_cidrs             = optional(list(string), [])
    api_cidrs                 = list(string)
    api_url                   = string
    instance_profile          = string
    platform                  = optional(string)
    max_retries               = optional(number, 5)
    endpoint                  = optional(map(string))
    owner_uid                 = optional(number)
    container                 = optional(string)
    packages                  = optional(object({ address = string, sha256 = string }))
  })

  validation {
    condition     = var.network.packages == null ? true : can(regex("^[0-9]{1,3}(\\.[0-9]{1,3}){3}:[0-9]{2,5}$", var.network.packages.address)) && can(regex("^[0-9a-f]{64}$", var.network.packages.sha256))
    error_message = "network.packages must be the package index's address, such as 10.64.192.10:3142, and its certificate's SHA-256."
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

  # A group is known in its own region only: from another one, gateway and watchers come by address.
  validation {
    condition = (var.network.gateway_security_group_id != null || length(var.network.gateway_cidrs) > 0) && alltrue([
      for cidr in var.network.gateway_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "network must say who reaches the machine: gateway_security_group_id, or gateway_cidrs as IPv4 ranges of /16 or narrower."
  }

  validation {
    condition     = startswith(var.network.availability_zone, var.network.region)
    error_message = "network.availability_zone must lie in network.region."
  }
}
