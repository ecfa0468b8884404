variable "region" {
  description = "AWS region of the whole platform."
  type        = string
}

variable "zones" {
  description = "Two availability zones of the region. Homes stay in the zone they were made in: do not change them."
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == 2 && alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones must be two availability zones of the region."
  }
}

variable "name" {
  description = "What every name begins with; another name is another platform."
  type        = string
  default     = "nightingale"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,15}$", var.name))
    error_message = "name must be lower case letters and digits, at most 16: bucket names are made of it, and with a dash one platform's names could be another's."
  }
}

variable "functions_package" {
  description = "Path of the zip that backend-lambda/package.py makes."
  type        = string
}

variable "platform_package" {
  description = "Path of the zip that builds run from: infra/, core/ and what they need."
  type        = string
}

variable "gateway_package" {
  description = "Path of the zip with the SSH gateway and its libraries."
  type        = string
}

variable "scan_package" {
  description = "Path of the zip with the function that scans the audit log, DuckDB in it."
  type        = string
}

variable "gateway_host_key" {
  description = "The gateway's public host key, as one line; clients pin it. The private half never comes here."
  type        = string

  validation {
    condition     = can(regex("^ssh-ed25519 [A-Za-z0-9+/=]+$", var.gateway_host_key))
    error_message = "gateway_host_key must be one ed25519 public key without a comment."
  }
}

variable "gateway_cidrs" {
  description = "Who may connect to the SSH gateway: the networks of your clinic, or everyone."
  type        = set(string)
}

variable "gateway_machine_type" {
  description = "Machine of the SSH gateway, x86_64: its libraries are packed for it."
  type        = string
  default     = "t3.micro"
}

variable "addresses" {
  description = "Further addresses under which the API is called, such as a domain name of yours."
  type        = set(string)
  default     = []
}

variable "cidr" {
  description = "Addresses of the platform's own network."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15)) && try(tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr must be a network of /20 or wider."
  }
}

variable "instance_image" {
  description = "AMI of instances, made by infra/packer. Null: nothing launches yet, and the rest of the platform works."
  type        = string
  default     = null
}

variable "dataset_buckets" {
  description = "What instances may read in S3, through an endpoint that lets nothing else through: `bucket` or `bucket/folder`. Open data (tier 0) of this region, not encrypted by a KMS key."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.dataset_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?$", one))])
    error_message = "dataset_buckets must be buckets, or folders in them, in plain characters: open-scans or open-scans/v1."
  }
}

variable "watched_logs" {
  description = "Where logs of clouds lie that the scan may read, as findings.logs of the cluster file names them: `bucket` or `bucket/folder`."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.watched_logs : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?$", one))])
    error_message = "watched_logs must be buckets, or folders in them, in plain characters: our-trails or our-trails/AWSLogs."
  }
}

variable "watched_log_keys" {
  description = "KMS keys, by ARN, that watched_logs are encrypted with, if any. Their own policies must let the role NAME-scan decrypt, too."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.watched_log_keys : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", one))])
    error_message = "watched_log_keys must be ARNs of keys, not of aliases."
  }
}

variable "packages" {
  description = "The package index of instances in this region: how it reaches indexes, by a NAT gateway (`nat`) or a proxy of yours (`http://10.1.2.3:3128`), and which. Null: instances have no packages but the image's, and say so."
  type = object({
    egress = string
    index  = optional(string, "https://pypi.org/simple")
    hosts  = optional(set(string), ["files.pythonhosted.org", "pypi.org"])
  })
  default = null

  validation {
    condition     = var.packages == null ? true : can(regex("^(nat|http://[0-9]{1,3}(\\.[0-9]{1,3}){3}:[0-9]{2,5})$", var.packages.egress))
    error_message = "packages.egress must be nat, or a proxy by its address: http://10.1.2.3:3128."
  }

  validation {
    condition     = var.packages == null ? true : can(regex("^https://[A-Za-z0-9./_-]+$", var.packages.index)) && alltrue([for one in var.packages.hosts : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", one))])
    error_message = "packages.index must be an https address without a name or password in it, and packages.hosts names of hosts, whole."
  }
}

variable "packages_package" {
  description = "Path of the zip with the package index and its libraries; null without var.packages."
  type        = string
  default     = null
}

variable "packages_sha256" {
  description = "SHA-256 of the certificate that the package index shows, in hexadecimal digits. Its key never comes here."
  type        = string
  default     = null

  validation {
    condition     = var.packages_sha256 == null ? true : can(regex("^[0-9a-f]{64}$", var.packages_sha256))
    error_message = "packages_sha256 must be 64 hexadecimal digits."
  }
}

variable "audit_days" {
  description = "So long nobody can delete an audit record (S3 Object Lock)."
  type        = number
  default     = 365

  validation {
    condition     = var.audit_days >= 1 && floor(var.audit_days) == var.audit_days
    error_message = "audit_days must be a whole number, 1 or more."
  }
}

variable "audit_lock" {
  description = "COMPLIANCE: nobody at all deletes before the time; GOVERNANCE: whoever has s3:BypassGovernanceRetention."
  type        = string
  default     = "GOVERNANCE"

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.audit_lock)
    error_message = "audit_lock must be COMPLIANCE or GOVERNANCE."
  }
}

variable "log_days" {
  description = "So long the functions', builds' and gateway's logs are kept. They hold no content of files."
  type        = number
  default     = 365
}

variable "alarm_emails" {
  description = "Who is written to when an alarm or the budget says so; each confirms once. Names and links only."
  type        = set(string)
}

variable "monthly_budget_usd" {
  description = "Cost of the whole account in a month, above which mail is sent (at 80 % too). Nothing is stopped."
  type        = number
}

variable "requests_per_second" {
  description = "Requests above are answered 429."
  type        = number
  default     = 200
}

variable "burst" {
  description = "So many requests at once may be above."
  type        = number
  default     = 400
}

variable "builds_at_once" {
  description = "CodeBuild builds that run at once; more wait. Null: the account's own limit."
  type        = number
  default     = null
}

variable "azure" {
  description = "The second backend's identity: the tenant, whom its token is made out to, and its object id. Null: none."
  type        = object({ tenant = string, audience = string, subject = string })
  default     = null

  validation {
    condition     = var.azure == null ? true : can(regex("^[0-9a-f-]{36}$", var.azure.tenant)) && can(regex("^[0-9a-f-]{36}$", var.azure.subject)) && var.azure.audience != ""
    error_message = "azure needs the ids of tenant and identity (subject), and an audience: without one of them others could open the role."
  }
}

variable "azure_machines" {
  description = "How instances in Azure prove who they are: the tenant of their identities, and whom their tokens are made out to. Null: none."
  type        = object({ tenant = string, audience = string })
  default     = null

  validation {
    condition     = var.azure_machines == null ? true : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.azure_machines.tenant)) && can(regex("^api://[^ ]+$", var.azure_machines.audience))
    error_message = "azure_machines needs the tenant's id in lower case, and the id URI of the application that tokens are made out to: api://..."
  }

  # IAM knows an issuer once. And a token for the one must not open the other's role.
  validation {
    condition     = var.azure_machines == null || var.azure == null ? true : var.azure_machines.tenant == var.azure.tenant && var.azure_machines.audience != var.azure.audience
    error_message = "azure_machines must be of the second backend's tenant (azure), and their tokens made out to another audience than its."
  }
}

variable "regions" {
  description = "Further regions, by name, as region/ says what it made there. `./run deploy aws` knows this from the settings' own `regions`."
  type = map(object({
    cidr             = string
    vpc_id           = string
    peering_id       = string
    zone             = string
    subnet_id        = string
    instances_cidr   = string
    doors_cidr       = string
    homes_key        = string
    quarantine_group = string
    ec2_door         = object({ name = string, zone = string })
    instance_image   = optional(string)
    dataset_buckets  = optional(set(string), [])
  }))
  default = {}

  validation {
    condition     = !contains(keys(var.regions), var.region)
    error_message = "regions are further ones: the platform's own is not among them."
  }

  # The instances' role is one for all of them.
  validation {
    condition     = alltrue([for one in flatten([for region in var.regions : tolist(region.dataset_buckets)]) : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?$", one))])
    error_message = "dataset_buckets of a region must be buckets, or folders in them, in plain characters."
  }
}

variable "azure_place" {
  description = "The place azure: where its instances stand, the VPN to them, and whom functions and builds are to Azure (docs/how-to/deploy-to-azure.md). Needs azure_machines. Null: nothing launches there."
  type = object({
    location           = string
    resource_group     = string
    subnet_id          = string
    cidr               = string
    client_id          = string
    builds_client_id   = string
    image              = optional(string)
    kms_key            = optional(string)
    vpn_gateway_id     = optional(string)
    transit_gateway_id = optional(string)
  })
  default = null

  validation {
    condition     = var.azure_place == null || var.azure_machines != null
    error_message = "azure_place needs azure_machines: an instance in Azure could not prove who it is."
  }

  validation {
    condition     = var.azure_place == null ? true : alltrue([for one in [var.azure_place.client_id, var.azure_place.builds_client_id] : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", one))]) && var.azure_place.client_id != var.azure_place.builds_client_id
    error_message = "azure_place.client_id and builds_client_id are the ids of two applications in Entra, in lower case: what looks at machines must not be what makes networks."
  }

  validation {
    condition     = var.azure_place == null ? true : can(regex("^/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", var.azure_place.subnet_id))
    error_message = "azure_place.subnet_id must be a subnet's id in Azure."
  }

  validation {
    condition     = var.azure_place == null ? true : can(cidrnetmask(var.azure_place.cidr)) && try(tonumber(split("/", var.azure_place.cidr)[1]) >= 16, false)
    error_message = "azure_place.cidr must be the IPv4 range of that subnet, /16 or narrower: gateway and watchers reach port 8888 of all that is in it."
  }

  validation {
    condition     = var.azure_place == null ? true : (var.azure_place.vpn_gateway_id == null) != (var.azure_place.transit_gateway_id == null)
    error_message = "azure_place needs the way to Azure: vpn_gateway_id (vgw-…) or transit_gateway_id (tgw-…), and one of them only."
  }
}

variable "is_ending" {
  description = "True while the platform is taken down: the table and the buckets of state and builds may then go."
  type        = bool
  default     = false
}
