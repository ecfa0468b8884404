variable "subscription_id" {
  description = "The Azure subscription."
  type        = string
}

variable "location" {
  description = "Azure's region, such as westeurope: near the AWS region, since every request asks the table there."
  type        = string
}

variable "name" {
  description = "What every name begins with; another name is another platform."
  type        = string
  default     = "nightingale"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,15}$", var.name))
    error_message = "name must be lower case letters, digits and dashes, at most 16."
  }
}

variable "suffix" {
  description = "Letters and digits of yours: the API's host name and the storage account's must be alone in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,8}$", var.suffix))
    error_message = "suffix must be 3 to 8 lower case letters and digits."
  }
}

variable "aws" {
  description = "The platform in AWS: region, the role that this API takes there, the audience that the role's trust names, table, buckets and CodeBuild project, and the settings of the place aws. The output `second_backend` there has all but the audience."
  type = object({
    region            = string
    role_arn          = string
    audience          = string
    table             = string
    audit_bucket      = string
    builds_bucket     = string
    codebuild_project = string
    place             = optional(map(string), {})
  })

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.aws.role_arn))
    error_message = "aws.role_arn must be the ARN of a role."
  }

  validation {
    condition     = startswith(var.aws.audience, "api://")
    error_message = "aws.audience must be the application's id URI in Entra, api://…"
  }

  # The names are those of nightingale.hosting.settings, which reads what is in them.
  validation {
    condition = length(setsubtract(keys(var.aws.place), [
      "NIGHTINGALE_AWS_ACCOUNT",
      "NIGHTINGALE_AWS_IMAGE",
      "NIGHTINGALE_AWS_INSTANCE_ROLE",
      "NIGHTINGALE_AWS_NETWORK",
      "NIGHTINGALE_AWS_REGIONS",
      "NIGHTINGALE_QUARANTINE_GROUP",
    ])) == 0
    error_message = "aws.place holds the settings of the place aws and no others: take it as the output second_backend gives it."
  }

  validation {
    condition     = length(var.aws.place) == 0 || length(setintersection(keys(var.aws.place), ["NIGHTINGALE_AWS_ACCOUNT", "NIGHTINGALE_AWS_IMAGE", "NIGHTINGALE_AWS_INSTANCE_ROLE", "NIGHTINGALE_AWS_NETWORK"])) == 4
    error_message = "aws.place is told whole or not at all: take it as the output second_backend gives it."
  }
}

variable "place_in_azure" {
  description = "What hosts are told of the place azure: the settings NIGHTINGALE_AZURE_… as the deployment in AWS prints them. Empty: nothing launches there from here."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for one in keys(var.place_in_azure) : can(regex("^NIGHTINGALE_AZURE_[A-Z_]+$", one))])
    error_message = "place_in_azure holds settings of the place azure alone, NIGHTINGALE_AZURE_…"
  }
}

variable "gateway" {
  description = "The SSH gateway as clients are told it; null: none."
  type = object({
    host     = string
    port     = number
    host_key = string
  })
  default = null
}

variable "addresses" {
  description = "Further https addresses under which this API is called, such as a domain name of yours."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.addresses : startswith(one, "https://")])
    error_message = "addresses must be https URLs."
  }
}

variable "is_standby" {
  description = "True: requests are answered, the jobs run in AWS alone. False: the jobs run here too, side by side or instead."
  type        = bool
  default     = true
}

variable "always_ready" {
  description = "Machines that always wait for requests, and are paid for. 0: the first request after a pause waits for one."
  type        = number
  default     = 0
}

variable "most_machines" {
  description = "Machines that answer at most."
  type        = number
  default     = 40
}

variable "log_days" {
  description = "So long logs are kept. They hold no content of files."
  type        = number
  default     = 30

  validation {
    condition     = var.log_days >= 30 && var.log_days <= 730
    error_message = "log_days must be 30 to 730."
  }
}

variable "alarm_emails" {
  description = "Who is written to when a function fails or the budget is reached. Names and links only."
  type        = set(string)
}

variable "monthly_budget" {
  description = "Cost of this resource group in a month, in the subscription's currency, above which mail is sent (at 80 % too). Nothing is stopped."
  type        = number
}

variable "budget_from" {
  description = "First day of the month that the budget begins with, such as 2026-12-01T00:00:00Z. Azure takes no earlier month."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{4}-[0-9]{2}-01T00:00:00Z$", var.budget_from))
    error_message = "budget_from must be the first of a month, such as 2026-12-01T00:00:00Z."
  }
}
