# The image of instances in Azure: what ../nightingale.pkr.hcl makes for AWS, as a version in a gallery.
#
#   packer init .  &&  packer build -var-file=ENVIRONMENT.pkrvars.hcl .
#
# Debian 13, since it has azure-vm-utils, which names a machine's disks; so `environment` holds wheels for Python 3.13.
# Packer asks Azure as whoever is signed in with `az`: no secret is told to it.

packer {
  required_version = ">= 1.9.0"

  required_plugins {
    azure = {
      source  = "github.com/hashicorp/azure"
      version = "~> 2.1"
    }
  }
}

variable "location" {
  type        = string
  description = "Where the image is made, and where its machines can be."
}

variable "resource_group" {
  type        = string
  description = "Of the image and of the gallery."
}

variable "gallery" {
  type        = string
  description = "The gallery; its image `definition` is there already: Linux, generalized, generation V2."
}

variable "definition" {
  type        = string
  description = "The gallery's image that this becomes a version of."
}

variable "version" {
  type        = string
  description = "The version: three numbers with dots between."

  validation {
    condition     = length(split(".", var.version)) == 3
    error_message = "A version is three numbers with dots between, such as 1.0.0."
  }
}

variable "subscription" {
  type        = string
  description = "The gallery's subscription."
}

variable "network" {
  type = object({
    resource_group = string
    name           = string
    subnet         = string
  })
  description = "A subnet with a way out, in whose network packer runs too: Debian's packages are fetched here, never by an instance."
}

variable "variant" {
  type        = string
  default     = "cpu"
  description = "cpu, or gpu: with NVIDIA's driver, built on a machine that has such a GPU."

  validation {
    condition     = contains(["cpu", "gpu"], var.variant)
    error_message = "The variant is cpu or gpu."
  }
}

variable "environment" {
  type        = string
  description = "Folder of wheels on this machine: the platform's, and everything they need."
}

variable "notebook_image" {
  type        = string
  description = "The notebook image on this machine, as an OCI archive."
}

locals {
  label = "nightingale-${var.variant}-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  # The smallest machines that have what is installed: a driver is tried before the image is made.
  machine_type = { cpu = "Standard_D2s_v5", gpu = "Standard_NC4as_T4_v3" }
  root_gib     = { cpu = 30, gpu = 40 } # Debian's own disk has 30
}

source "azure-arm" "machine" {
  use_azure_cli_auth = true
  location           = var.location
  vm_size            = local.machine_type[var.variant]

  # Debian's own, generation 2.
  os_type         = "Linux"
  image_publisher = "Debian"
  image_offer     = "debian-13"
  image_sku       = "13-gen2"
  os_disk_size_gb = local.root_gib[var.variant]

  communicator = "ssh"
  ssh_username = "packer"

  # No public address: packer runs inside the network.
  virtual_network_resource_group_name    = var.network.resource_group
  virtual_network_name                   = var.network.name
  virtual_network_subnet_name            = var.network.subnet
  private_virtual_network_with_public_ip = false

  managed_image_resource_group_name = var.resource_group
  managed_image_name                = local.label

  shared_image_gallery_destination {
    subscription        = var.subscription
    resource_group      = var.resource_group
    gallery_name        = var.gallery
    image_name          = var.definition
    image_version       = var.version
    replication_regions = [var.location]
  }

  azure_tags = {
    nightingale-variant = var.variant
  }
}

build {
  sources = ["source.azure-arm.machine"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/nightingale/wheels"]
  }

  provisioner "file" {
    source      = "${path.root}/../files/"
    destination = "/tmp/nightingale"
  }

  provisioner "file" {
    source      = "${trimsuffix(var.environment, "/")}/"
    destination = "/tmp/nightingale/wheels"
  }

  provisioner "file" {
    source      = var.notebook_image
    destination = "/tmp/nightingale/notebook.tar"
  }

  provisioner "shell" {
    execute_command  = "sudo env {{ .Vars }} sh {{ .Path }}"
    environment_vars = ["CLOUD=azure", "VARIANT=${var.variant}"]
    script           = "${path.root}/../files/install"
  }
}
