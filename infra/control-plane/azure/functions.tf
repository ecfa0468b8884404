locals {
  app     = "${var.name}-${var.suffix}"
  address = "https://${local.app}.azurewebsites.net"

  # Jobs that stand still while AWS's own run. The queue is read in both cases: an end that is heard twice is heard once.
  jobs = ["watch_first", "watch_second", "close_hours", "end_orphans"]

  # Names and addresses only; nothing here is a secret (nightingale.hosting.settings, azurelib.settings).
  settings = merge(
    var.aws.place, # what the place aws is, as Lambda's functions are told
    {
      NIGHTINGALE_TABLE             = var.aws.table
      NIGHTINGALE_AUDIT_BUCKET      = var.aws.audit_bucket
      NIGHTINGALE_BUILDS_BUCKET     = var.aws.builds_bucket
      NIGHTINGALE_CODEBUILD_PROJECT = var.aws.codebuild_project
      NIGHTINGALE_ADDRESSES         = join(",", concat([local.address], sort(var.addresses)))
      NIGHTINGALE_AWS_ROLE          = var.aws.role_arn
      NIGHTINGALE_AWS_AUDIENCE      = var.aws.audience
      AWS_REGION                    = var.aws.region
      AZURE_CLIENT_ID               = azurerm_user_assigned_identity.api.client_id

      # The host's own storage and the queue, opened by the identity. Without credential and clientId the host looks for
      # a connection string and does not start.
      AzureWebJobsStorage__accountName          = azurerm_storage_account.host.name
      AzureWebJobsStorage__credential           = "managedidentity"
      AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.api.client_id
      NIGHTINGALE_QUEUE__queueServiceUri        = azurerm_storage_account.host.primary_queue_endpoint
      NIGHTINGALE_QUEUE__credential             = "managedidentity"
      NIGHTINGALE_QUEUE__clientId               = azurerm_user_assigned_identity.api.client_id
      APPLICATIONINSIGHTS_CONNECTION_STRING     = azurerm_application_insights.api.connection_string
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.api.client_id};Authorization=AAD"
    },
    var.gateway == null ? {} : {
      NIGHTINGALE_GATEWAY_HOST     = var.gateway.host
      NIGHTINGALE_GATEWAY_PORT     = tostring(var.gateway.port)
      NIGHTINGALE_GATEWAY_HOST_KEY = var.gateway.host_key
    },
    merge({ for job in local.jobs : "AzureWebJobs.${job}.Disabled" => tostring(var.is_standby) }, var.place_in_azure),
  )
}

resource "azurerm_user_assigned_identity" "api" {
  name                = "${var.name}-api"
  resource_group_name = azurerm_resource_group.platform.name
  location            = azurerm_resource_group.platform.location
  tags                = azurerm_resource_group.platform.tags
}

resource "azurerm_service_plan" "api" {
  # checkov:skip=CKV_AZURE_225: this is the second leg itself; zones take machines that always wait (always_ready)
  # checkov:skip=CKV_AZURE_212: same
  name                = var.name
  resource_group_name = azurerm_resource_group.platform.name
  location            = azurerm_resource_group.platform.location
  tags                = azurerm_resource_group.platform.tags
  os_type             = "Linux"
  sku_name            = "FC1" # Flex Consumption: nothing runs, nothing is paid
}

# Through azapi: azurerm's own resource adds a connection string of the account's key to the settings, which the host
# then takes in place of the identity (hashicorp/terraform-provider-azurerm#29693, #29149).
resource "azapi_resource" "api" {
  type      = "Microsoft.Web/sites@2024-04-01"
  name      = local.app
  location  = azurerm_resource_group.platform.location
  parent_id = azurerm_resource_group.platform.id
  tags      = azurerm_resource_group.platform.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.api.id]
  }

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId        = azurerm_service_plan.api.id
      httpsOnly           = true
      publicNetworkAccess = "Enabled" # the API is called from everywhere; dispatch authenticates each request
      clientCertEnabled   = false

      functionAppConfig = {
        deployment = {
          storage = {
            type  = "blobContainer"
            value = "${azurerm_storage_account.host.primary_blob_endpoint}${azurerm_storage_container.programs.name}"
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = azurerm_user_assigned_identity.api.id
            }
          }
        }
        runtime = {
          name    = "python"
          version = "3.11"
        }
        scaleAndConcurrency = {
          instanceMemoryMB     = 512
          maximumInstanceCount = var.most_machines
          alwaysReady          = var.always_ready == 0 ? [] : [{ name = "http", instanceCount = var.always_ready }]
        }
      }

      siteConfig = {
        minTlsVersion    = "1.2"
        scmMinTlsVersion = "1.2"
        ftpsState        = "Disabled"
        http20Enabled    = true
        appSettings      = [for name in sort(keys(local.settings)) : { name = name, value = local.settings[name] }]
      }
    }
  }

  ignore_casing          = true # Azure answers ids in another case than it takes
  response_export_values = ["properties.defaultHostName"]

  # An app that starts without its roles cannot read its program.
  depends_on = [azurerm_role_assignment.api]

  lifecycle {
    postcondition {
      condition     = contains(concat([local.address], tolist(var.addresses)), "https://${self.output.properties.defaultHostName}")
      error_message = "Azure gave the app the host name ${self.output.properties.defaultHostName}, and clients are told ${local.address}: add it to addresses."
    }
  }
}

# No password opens the app's program or its files.
resource "azapi_update_resource" "no_passwords" {
  for_each = toset(["ftp", "scm"])

  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01"
  name      = each.value
  parent_id = azapi_resource.api.id

  body = {
    properties = {
      allow = false
    }
  }
}
