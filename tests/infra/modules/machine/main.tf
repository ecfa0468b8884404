# A machine and its home in EC2, as small as they can be: what the build runner's tests have the real provider make.
terraform {
  required_version = ">= 1.10.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "desired_state" { type = string }
variable "generation" { type = number }
variable "machine_type" { type = string }
variable "image" { type = string }
variable "home_gib" { type = number }

variable "network" {
  type = object({
    region            = string
    availability_zone = string
    max_retries       = number
    endpoint          = map(string)
  })
}

provider "aws" {
  region                      = var.network.region
  max_retries                 = var.network.max_retries
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true

  endpoints {
    ec2 = var.network.endpoint["ec2"]
  }
}

resource "aws_ebs_volume" "home" {
  count             = var.desired_state == "absent" ? 0 : 1
  availability_zone = var.network.availability_zone
  size              = var.home_gib
  encrypted         = true
}

resource "aws_instance" "machine" {
  count             = var.desired_state == "absent" ? 0 : 1
  ami               = var.image
  instance_type     = var.machine_type
  availability_zone = var.network.availability_zone
  tags              = { generation = var.generation }
}

resource "aws_ec2_instance_state" "machine" {
  count       = var.desired_state == "absent" ? 0 : 1
  instance_id = aws_instance.machine[0].id
  state       = var.desired_state

  # The provider starts a machine whose type it changed, stopped or not: made anew, this stops it again.
  lifecycle {
    replace_triggered_by = [aws_instance.machine[count.index].instance_type]
  }
}

output "resource_ids" {
  value = {
    home     = one(aws_ebs_volume.home[*].id)
    instance = one(aws_instance.machine[*].id)
  }
}
