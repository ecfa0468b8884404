# A person's home: one encrypted disk that outlives every machine it is attached to.
#
# It goes with `desired_state = absent` and in no other way: what would make Terraform replace the disk is ignored once
# it is there, so that a new snapshot, key or region in the variables is for the next home, not for this one. The one
# thing left is a smaller size, which the core refuses before and the build runner's plan gate after.

resource "azurerm_managed_disk" "home" {
  name                 = var.name
  resource_group_name  = var.resource_group
  location             = var.location
  storage_account_type = "StandardSSD_LRS" # Premium_LRS is refused by machine sizes without an s in their name
  disk_size_gb         = var.gib
  create_option        = var.snapshot_id == "" ? "Empty" : "Copy"
  source_resource_id   = var.snapshot_id == "" ? null : var.snapshot_id

  # Without a set Azure encrypts with keys of its own; a disk without encryption does not exist there.
  disk_encryption_set_id = var.kms_key

  # Nobody exports it over the network, with or without a signed link.
  network_access_policy         = "DenyAll"
  public_network_access_enabled = false

  tags = merge(var.tags, { "nightingale-part" = "home" })

  lifecycle {
    ignore_changes = [name, resource_group_name, location, create_option, source_resource_id, disk_encryption_set_id]

    # Said here in words: Azure would say only that disk and machine do not go together.
    postcondition {
      condition     = lower(replace(self.location, " ", "")) == lower(replace(var.location, " ", ""))
      error_message = "The home ${self.id} lies in ${self.location} and the network names ${var.location}. A disk cannot leave its region: put its region back into the place's network, or snapshot the home and launch a new instance from it."
    }
  }
}
