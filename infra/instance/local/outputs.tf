output "instance_id" {
  description = "The instance's id."
  value       = var.instance_id
}

output "home_id" {
  description = "The home folder's path; null when it is gone."
  value       = var.desired_state == "absent" ? null : local.home_dir
}

output "address" {
  description = "Where Jupyter listens: unix:/path or tcp:host:port; null when it does not run."
  value       = var.desired_state == "running" ? "unix:${local.instance_dir}/run/jupyter.sock" : null
}

output "state" {
  description = "running, stopped or absent."
  value       = var.desired_state
}

output "machine_type" {
  description = "The size as this place calls it."
  value       = var.machine_type
}

output "log_ref" {
  description = "Where the Jupyter server's log lies."
  value       = "${local.instance_dir}/jupyter.log"
}

output "capabilities" {
  description = "What this place can do: stop and keep the home, resize, spot machines, a home on a block device."
  value = {
    stop       = true
    resize     = true
    spot       = false
    block_home = false
  }
}

output "resource_ids" {
  description = "Terraform's own ids of the home and of the running instance: they change when it is replaced."
  value = {
    home     = one(terraform_data.home[*].id)
    instance = one(terraform_data.instance[*].id)
    identity = null
  }
}
