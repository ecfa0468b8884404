# One small instance without datasets. Set the two paths, then: terraform init && terraform apply
terraform {
  required_version = ">= 1.5.0, < 2.0.0"
}

variable "data_dir" {
  description = "An empty folder for the instance and its home."
  type        = string
}

variable "python" {
  description = "An interpreter that has both nightingale-infra and nightingale-instance installed."
  type        = string
}

module "instance" {
  source = "../.."

  instance_id   = "i-example001"
  name          = "example"
  owner         = "ada"
  project       = "demo"
  machine_type  = "c1-m1024-g0"
  image         = var.python
  desired_state = "running"
  generation    = 1
  home_gib      = 1
  network = {
    data_dir = var.data_dir
    launcher = [var.python, "-I", "-m", "nightingale_build.launcher"]
  }
}

output "address" {
  description = "The socket of the Jupyter server."
  value       = module.instance.address
}
