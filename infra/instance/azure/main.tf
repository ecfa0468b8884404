# One instance in Azure: a private machine, its network interface and rules, and a home that outlives them.
#
#                  home    interface, rules   machine                 copies of datasets
#   running        yes     yes                running                 yes
#   stopped        yes     yes                deallocated: not paid   yes
#   absent         no      no                 no                      no

provider "azurerm" {
  subscription_id = local.subscription

  # Registering is an owner's act, done once (docs/how-to/deploy-to-azure.md); a build may not do it.
  resource_provider_registrations = "none"

  features {
    virtual_machine {
      delete_os_disk_on_deletion = true
    }
  }
}

provider "azapi" {
  subscription_id            = local.subscription
  skip_provider_registration = true
}

locals {
  is_absent  = var.desired_state == "absent"
  is_running = var.desired_state == "running"
  port       = 8888
  label      = "nightingale-${var.instance_id}"

  # /subscriptions/<id>/resourceGroups/…
  subscription = split("/", var.network.subnet_id)[2]

  tags = merge(var.tags, {
    "nightingale-instance" = var.instance_id
    "nightingale-owner"    = var.owner
    "nightingale-project"  = var.project
  })

  # The strictest of what is mounted decides.
  tier = max(concat([0], [for d in var.datasets : d.tier])...)

  on_disk = { for d in var.datasets : d.dataset => trimprefix(d.source, "snapshot:") }

  # 0 is the home's.
  lun = { for index, name in sort(keys(local.on_disk)) : name => index + 1 }

  # These links are made by azure-vm-utils in the image, for SCSI and for NVMe alike.
  device = "/dev/disk/azure/data/by-lun"

  # What the machine is told, in the form that every cloud's machine is told it. It carries no secret: whoever runs code
  # on the machine can read it. It is the same for all of a machine's life, so nothing that changes with a start is in it.
  told = {
    format      = 1
    place       = "azure"
    region      = var.network.location
    instance_id = var.instance_id
    name        = var.name
    owner       = var.owner
    owner_uid   = var.network.owner_uid
    project     = var.project
    tier        = local.tier
    image       = var.image
    container   = var.network.container
    api_url     = var.network.api_url
    audience    = var.network.audience
    port        = local.port
    is_spot     = var.spot
    home = {
      device           = "${local.device}/0"
      mount            = "/srv/nightingale/home"
      is_from_snapshot = var.home_snapshot_id != ""
    }
    datasets = [
      for d in var.datasets : {
        dataset = d.dataset
        version = d.version
        tier    = d.tier
        kind    = "disk"
        source  = "${local.device}/${local.lun[d.dataset]}"
        mount   = "/srv/nightingale/data/${d.dataset}"
      }
    ]
  }

  # Azure makes no machine without a password or a key, and a private key would stand in the state. This key has no
  # private half: the point is the hash of a sentence (tests/infra/test_azure_key.py derives it again), and the image
  # sets up neither account nor SSH server.
  nobodys_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL7ylAcBh9khpU2o2bgo9Hf3xSHc8pLadG9IAKr/Sif2 nobody"
}

module "home" {
  source = "./home"
  count  = local.is_absent ? 0 : 1

  name           = "${local.label}-home"
  resource_group = var.network.resource_group
  location       = var.network.location
  gib            = var.home_gib
  snapshot_id    = var.home_snapshot_id
  kms_key        = var.kms_key
  tags           = local.tags
}

# --- the network ------------------------------------------------------------------------------------------------------

# Each rule is a resource of its own, so that a build leaves alone what stands beside them: the two by which the platform
# closes a machine in quarantine at once (adapters/azure_quarantine.py). Those have the priority 100, the first that there
# is, so it is used for nothing here. The last rule of each direction stands before Azure's own, which let the whole
# virtual network in and the whole internet out. Azure's resolver and metadata service are not held by security groups.
locals {
  rules = {
    "jupyter-from-the-gateway" = { direction = "Inbound", priority = 200, access = "Allow", protocol = "Tcp", from = var.network.gateway_cidr, cidrs = null, port = tostring(local.port) }
    "nothing-else-in"          = { direction = "Inbound", priority = 4096, access = "Deny", protocol = "*", from = "*", cidrs = null, port = "*" }
    "the-api"                  = { direction = "Outbound", priority = 200, access = "Allow", protocol = "Tcp", from = "*", cidrs = var.network.api_cidrs, port = "443" }
    "nothing-else-out"         = { direction = "Outbound", priority = 4096, access = "Deny", protocol = "*", from = "*", cidrs = null, port = "*" }
  }
}

resource "azurerm_network_security_group" "machine" {
  count = local.is_absent ? 0 : 1

  name                = local.label
  resource_group_name = var.network.resource_group
  location            = var.network.location
  tags                = local.tags
}

resource "azurerm_network_security_rule" "machine" {
  for_each = { for name, rule in local.rules : name => rule if !local.is_absent }

  name                         = each.key
  resource_group_name          = var.network.resource_group
  network_security_group_name  = azurerm_network_security_group.machine[0].name
  priority                     = each.value.priority
  direction                    = each.value.direction
  access                       = each.value.access
  protocol                     = each.value.protocol
  source_address_prefix        = each.value.from
  source_port_range            = "*"
  destination_address_prefix   = each.value.cidrs == null ? "*" : null
  destination_address_prefixes = each.value.cidrs
  destination_port_range       = each.value.port
}

resource "azurerm_network_interface" "machine" {
  count = local.is_absent ? 0 : 1

  name                = local.label
  resource_group_name = var.network.resource_group
  location            = var.network.location
  tags                = local.tags

  # No public address: the gateway's network is the only way in.
  ip_configuration {
    name                          = "private"
    subnet_id                     = var.network.subnet_id
    private_ip_address_allocation = "Dynamic"
  }
}

resource "azurerm_network_interface_security_group_association" "machine" {
  count = local.is_absent ? 0 : 1

  network_interface_id      = azurerm_network_interface.machine[0].id
  network_security_group_id = azurerm_network_security_group.machine[0].id

  # A group without its rules would let the network in and the internet out.
  depends_on = [azurerm_network_security_rule.machine]
}

# --- the machine ------------------------------------------------------------------------------------------------------

# A retry is a new machine: a broken system disk, a lost start-up and failing hardware are all left behind by it, and the
# home moves over. Only an update of this triggers that: it is *made* by a start and *removed* by a stop, and neither
# counts, so a stopped machine starts as it is although each build has a new generation.
resource "terraform_data" "retry" {
  count = local.is_running ? 1 : 0
  input = var.generation
}

resource "azurerm_linux_virtual_machine" "machine" {
  # checkov:skip=CKV_AZURE_179: without an agent nobody runs commands on the machine from outside; cloud-init tells Azure that it is ready
  count = local.is_absent ? 0 : 1

  name                  = local.label
  computer_name         = var.instance_id
  resource_group_name   = var.network.resource_group
  location              = var.network.location
  size                  = var.machine_type
  source_image_id       = var.image
  network_interface_ids = [azurerm_network_interface.machine[0].id]
  tags                  = merge(local.tags, { "nightingale-name" = var.name, "nightingale-generation" = tostring(var.generation) })

  # ASCII and nothing that ends a YAML string, whatever a name may hold one day.
  custom_data = base64encode(templatefile("${path.module}/cloud-init.yaml.tftpl", {
    instance_json = base64encode(jsonencode(local.told))
  }))

  # Without agent and extensions nobody who may write to the account runs a command on the machine; cloud-init tells
  # Azure that it is ready.
  provision_vm_agent         = false
  allow_extension_operations = false

  admin_username                  = "nobody-logs-in"
  disable_password_authentication = true

  admin_ssh_key {
    username   = "nobody-logs-in"
    public_key = local.nobodys_key
  }

  # Spare capacity is deallocated when Azure takes it back, never deleted: its end can be looked at, and nothing of it
  # is gone from Terraform's state behind its back. It starts again by a retry, which replaces it.
  priority        = var.spot ? "Spot" : "Regular"
  eviction_policy = var.spot ? "Deallocate" : null
  max_bid_price   = var.spot ? -1 : null # up to the price on demand

  # Temporary disk and caches too. The subscription's feature EncryptionAtHost has to be registered once.
  encryption_at_host_enabled = true

  os_disk {
    name                   = "${local.label}-system"
    caching                = "ReadWrite"
    storage_account_type   = "StandardSSD_LRS"
    disk_size_gb           = var.root_gib > 0 ? var.root_gib : null
    disk_encryption_set_id = var.kms_key
  }

  # An identity of this machine's own, new with each machine that is made: by it the machine proves to the API who it is.
  # It has no role, in the subscription or elsewhere.
  identity {
    type = "SystemAssigned"
  }

  # The interface is closed before the machine is on it.
  depends_on = [azurerm_network_interface_security_group_association.machine]

  lifecycle {
    replace_triggered_by = [terraform_data.retry]

    # Stopping one that was given a public address by hand must work.
    postcondition {
      condition     = !local.is_running || try(self.public_ip_address, null) == null || self.public_ip_address == ""
      error_message = "The machine ${self.id} has a public address. Instances never have one: take it off the network interface."
    }
  }
}

resource "azurerm_virtual_machine_data_disk_attachment" "home" {
  count = local.is_absent ? 0 : 1

  managed_disk_id    = module.home[0].id
  virtual_machine_id = azurerm_linux_virtual_machine.machine[0].id
  lun                = 0
  caching            = "None" # what was written is on the disk, wherever it is attached next
}

# --- datasets on disks ------------------------------------------------------------------------------------------------

# Each machine has copies of its own: a snapshot holds the dataset.
resource "azurerm_managed_disk" "dataset" {
  for_each = local.is_absent ? {} : local.on_disk

  name                          = "${local.label}-data-${local.lun[each.key]}"
  resource_group_name           = var.network.resource_group
  location                      = var.network.location
  storage_account_type          = "StandardSSD_LRS"
  create_option                 = "Copy"
  source_resource_id            = each.value
  disk_encryption_set_id        = var.kms_key
  network_access_policy         = "DenyAll"
  public_network_access_enabled = false
  tags                          = merge(local.tags, { "nightingale-part" = "dataset" })
}

resource "azurerm_virtual_machine_data_disk_attachment" "dataset" {
  for_each = azurerm_managed_disk.dataset

  managed_disk_id    = each.value.id
  virtual_machine_id = azurerm_linux_virtual_machine.machine[0].id
  lun                = local.lun[each.key]
  caching            = "ReadOnly"
}

# --- running or stopped -----------------------------------------------------------------------------------------------

resource "terraform_data" "power" {
  count = local.is_absent ? 0 : 1
  input = [var.desired_state, var.generation, var.machine_type]
}

# The provider leaves starting and stopping out on purpose, so Azure's own call is made through its second provider. It
# is made with each build: both calls do nothing to a machine that is in that state already.
resource "azapi_resource_action" "power" {
  count = local.is_absent ? 0 : 1

  type        = "Microsoft.Compute/virtualMachines@2024-07-01"
  resource_id = azurerm_linux_virtual_machine.machine[0].id
  action      = local.is_running ? "start" : "deallocate" # powered off without that, a machine is paid for
  when        = "apply"

  # All disks are there before it starts again.
  depends_on = [
    azurerm_virtual_machine_data_disk_attachment.home,
    azurerm_virtual_machine_data_disk_attachment.dataset,
  ]

  lifecycle {
    replace_triggered_by = [terraform_data.power]
  }
}
