# terraform_data and optional() attributes with defaults; nothing is downloaded.
terraform {
  required_version = ">= 1.5.0, < 2.0.0"
}
