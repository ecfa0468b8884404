# The machine image (AMI) of instances in AWS: Debian, the platform's environment and notebook image, its units and guards.
# Everything an instance needs is in it, since an instance reaches nothing but the platform's API.
#
#   packer init .  &&  packer build -var-file=ENVIRONMENT.pkrvars.hcl .
#
# `environment` is a folder of wheels: nightingale-infra's, nightingale-instance's and all that they need, and
# mount-s3.deb (Mountpoint for Amazon S3) where datasets on S3 shall be mounted. `notebook_image` is what `./run image`
# made, saved by `buildah push NAME oci-archive:FILE`.

packer {
  required_version = ">= 1.9.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the image is made, and where its machines can be."
}

variable "subnet_id" {
  type        = string
  description = "A private subnet with a way out, in which packer runs too: Debian's packages are fetched here, never by an instance."
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "KMS key of the image's disk; empty: the account's own for EBS."
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
  machine_type = { cpu = "m7i.large", gpu = "g6.xlarge" }
  root_gib     = { cpu = 16, gpu = 40 }
}

source "amazon-ebs" "machine" {
  region          = var.region
  subnet_id       = var.subnet_id
  instance_type   = local.machine_type[var.variant]
  ami_name        = local.label
  ami_description = "Nightingale instance (${var.variant})"

  # Debian's own account.
  source_ami_filter {
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  communicator                = "ssh"
  ssh_username                = "admin"
  ssh_interface               = "private_ip" # packer runs inside the network: a build job, or a machine there
  associate_public_ip_address = false

  # Machines of this image answer tokens only, whoever launches them.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  encrypt_boot = true
  kms_key_id   = var.kms_key
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = local.root_gib[var.variant]
    iops                  = 3000 # what gp3 has at no further price; some versions refuse to leave it out
    throughput            = 125  # MiB a second, the same
    delete_on_termination = true
  }

  tags = {
    Name                  = local.label
    "nightingale:variant" = var.variant
    "nightingale:base"    = "{{ .SourceAMIName }}"
  }
}

build {
  sources = ["source.amazon-ebs.machine"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/nightingale/wheels"]
  }

  provisioner "file" {
    source      = "${path.root}/files/"
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
    environment_vars = ["CLOUD=aws", "VARIANT=${var.variant}"]
    script           = "${path.root}/files/install"
  }
}
