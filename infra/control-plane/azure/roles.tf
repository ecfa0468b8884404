# Everything that the API's identity may do in Azure. In AWS it may do what its role there says.

locals {
  roles = {
    # The host keeps its program, its locks and its own keys in blobs; Azure's list asks for Owner of the account's blobs.
    blobs = { scope = azurerm_storage_account.host.id, role = "Storage Blob Data Owner" }

    # Take messages, and see how many wait.
    take = { scope = azurerm_storage_queue.build_ends["build-ends"].id, role = "Storage Queue Data Message Processor" }
    see  = { scope = azurerm_storage_queue.build_ends["build-ends"].id, role = "Storage Queue Data Reader" }

    # Put aside what could not be read.
    aside = { scope = azurerm_storage_queue.build_ends["build-ends-poison"].id, role = "Storage Queue Data Message Sender" }

    # Write measurements, and read none.
    metrics = { scope = azurerm_application_insights.api.id, role = "Monitoring Metrics Publisher" }
  }
}

resource "azurerm_role_assignment" "api" {
  for_each = local.roles

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = azurerm_user_assigned_identity.api.principal_id
  principal_type       = "ServicePrincipal"
}
