variable "name" {
  description = "What every name begins with."
  type        = string
}

variable "suffix" {
  description = "Makes the bucket's name the only one of AWS."
  type        = string
}

variable "account" {
  description = "The account's number."
  type        = string
}

variable "partition" {
  description = "aws, or another of AWS's partitions."
  type        = string
}

variable "days" {
  description = "So long nobody can delete a record."
  type        = number
}

variable "lock" {
  description = "COMPLIANCE or GOVERNANCE."
  type        = string
}
