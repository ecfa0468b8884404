variable "name" {
  description = "The volume's name in AWS's console."
  type        = string
}

variable "availability_zone" {
  description = "Where the machines that it is attached to run. A volume cannot leave its zone."
  type        = string
}

variable "gib" {
  description = "Size in GiB. A larger one grows the volume in place; AWS refuses a smaller one."
  type        = number
}

variable "snapshot_id" {
  description = "Snapshot that a new volume is made from; empty: none."
  type        = string
}

variable "kms_key" {
  description = "ARN of the KMS key; null: the account's own for EBS."
  type        = string
}
