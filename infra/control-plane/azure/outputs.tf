output "address" {
  description = "The API's address; clients know it beside the one in AWS."
  value       = local.address
}

output "app" {
  description = "The function app, which the program is deployed to."
  value       = azapi_resource.api.name
}

output "resource_group" {
  description = "The resource group of all of this."
  value       = azurerm_resource_group.platform.name
}

output "federation" {
  description = "What the role's trust in AWS must name: who issues the identity's tokens, for whom, and whose they are."
  value = {
    issuer   = "https://sts.windows.net/${azurerm_user_assigned_identity.api.tenant_id}/"
    audience = var.aws.audience
    subject  = azurerm_user_assigned_identity.api.principal_id
  }
}
