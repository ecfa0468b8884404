variable "name" {
  description = "The platform's name."
  type        = string
}

variable "region" {
  description = "The further AWS region."
  type        = string
}

variable "zone" {
  description = "Availability zone of the instances. Homes stay in the zone they were made in: do not change it."
  type        = string

  validation {
    condition     = startswith(var.zone, var.region)
    error_message = "zone must be an availability zone of the region."
  }
}

variable "cidr" {
  description = "Addresses of the network here; no other network of the platform may have any of them."
  type        = string

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15)) && try(tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr must be a network of /20 or wider."
  }
}

variable "dataset_buckets" {
  description = "As the platform's own variable, for this region's buckets."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.dataset_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?$", one))])
    error_message = "dataset_buckets must be buckets, or folders in them, in plain characters: open-scans or open-scans/v1."
  }
}

variable "log_days" {
  description = "So long what the network refused is kept."
  type        = number
  default     = 365
}

variable "home" {
  description = "What the platform says of its own region (its output `for_regions`)."
  type = object({
    region     = string
    vpc_id     = string
    cidrs      = list(string) # where gateway, watchers and the API's endpoint are
    api_hosts  = list(string)
    flows_role = string
  })

  validation {
    condition     = length(var.home.cidrs) > 0 && alltrue([for one in var.home.cidrs : can(cidrnetmask(one)) && try(tonumber(split("/", one)[1]) >= 16, false)])
    error_message = "home.cidrs must be the few subnets that are reached, of /16 or narrower: there is no other way out of here."
  }
}
