# One account for what the Functions host itself needs: the program, its locks, and the queue of build ends. No record of
# the platform lies here: those are in AWS.

resource "azurerm_resource_group" "platform" {
  name     = var.name
  location = var.location
  tags     = { platform = var.name }
}

resource "azurerm_storage_account" "host" {
  # checkov:skip=CKV_AZURE_59: the Functions host reaches it from outside of any network of ours; identities alone open it
  # checkov:skip=CKV2_AZURE_33: same: a private endpoint would take a network, and cost more a month than all of this when idle
  # checkov:skip=CKV_AZURE_206: three zones; nothing lies here that is not made again by a deployment
  # checkov:skip=CKV2_AZURE_38: same
  # checkov:skip=CKV_AZURE_33: the host asks the queue every few seconds; a message holds a build id and a status
  # checkov:skip=CKV2_AZURE_1: the program and locks, no record of the platform: encrypted with keys that Azure manages
  name                = "${replace(var.name, "-", "")}${var.suffix}"
  resource_group_name = azurerm_resource_group.platform.name
  location            = azurerm_resource_group.platform.location
  tags                = azurerm_resource_group.platform.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = "ZRS"

  # Identities only: a key would open everything, to whoever reads it in a state or a setting.
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  local_user_enabled               = false
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  allowed_copy_scope               = "AAD"
  min_tls_version                  = "TLS1_2"
}

resource "azurerm_storage_container" "programs" {
  # checkov:skip=CKV2_AZURE_21: the host renews its locks in this account all the time, and a log of that hides what is rare
  name                  = "programs"
  storage_account_id    = azurerm_storage_account.host.id
  container_access_type = "private"
}

# What could not be read five times is put into the second one by the host, which may not make queues.
resource "azurerm_storage_queue" "build_ends" {
  for_each = toset(["build-ends", "build-ends-poison"])

  name               = each.value
  storage_account_id = azurerm_storage_account.host.id
}
