# The lines of versions that the kept schemas are of (infra/schemas); `nightingale_schemas check` compares them.
terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    azapi = {
      source  = "Azure/azapi"
      version = "~> 2.13"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.10"
    }
  }

  # The state lies with the other states, in AWS: who can apply this can read the table anyway. Bucket and region are
  # said at init (-backend-config).
  backend "s3" {
    key          = "control-plane-azure/terraform.tfstate"
    use_lockfile = true
    encrypt      = true
  }
}

provider "azurerm" {
  subscription_id                 = var.subscription_id
  resource_provider_registrations = "none" # an owner's act, done once (docs/how-to/deploy-to-azure.md)
  storage_use_azuread             = true   # the account's keys are off

  features {}
}

provider "azapi" {
  subscription_id            = var.subscription_id
  skip_provider_registration = true
}
