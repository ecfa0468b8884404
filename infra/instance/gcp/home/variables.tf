variable "name" {
  description = "The bucket's name; no other in the world may have it."
  type        = string
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where the bucket lies. It cannot leave it."
  type        = string
}

variable "kms_key" {
  description = "Name of the Cloud KMS key; null: keys that Google manages."
  type        = string
}

variable "account" {
  description = "The instance's own service account, the only one that this module lets in."
  type        = string
}

variable "labels" {
  description = "Labels for the bill."
  type        = map(string)
}
