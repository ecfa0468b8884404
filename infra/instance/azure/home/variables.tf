variable "name" {
  description = "The disk's name in Azure."
  type        = string
}

variable "resource_group" {
  description = "The resource group that instances lie in."
  type        = string
}

variable "location" {
  description = "Azure's region. A disk cannot leave it."
  type        = string
}

variable "gib" {
  description = "Size in GiB. It grows and never shrinks: the provider would replace the disk, and the build runner's plan gate stops that."
  type        = number
}

variable "snapshot_id" {
  description = "Snapshot that a new disk is made from; empty: none."
  type        = string
}

variable "kms_key" {
  description = "Id of the disk encryption set; null: keys that Azure manages."
  type        = string
}

variable "tags" {
  description = "Labels for the bill."
  type        = map(string)
}
