output "instance_id" {
  description = "The instance's id."
  value       = var.instance_id
}

output "home_id" {
  description = "The home's volume, vol-…; null when it is gone."
  value       = one(module.home[*].id)
}

output "address" {
  description = "Where Jupyter listens: tcp:host:port inside the private network; null when it does not run."
  value       = var.desired_state == "running" ? "tcp:${aws_instance.machine[0].private_ip}:${local.port}" : null
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
  description = "Where the Jupyter server's log lies: the machine's journal, by unit; null where there is no machine."
  value       = local.has_machine ? "journal:${aws_instance.machine[0].id}:nightingale-instance.service" : null
}

output "capabilities" {
  description = "What this place can do: stop and keep the home, resize, spot machines, a home on a block device."
  value = {
    stop       = true
    resize     = true
    spot       = true
    block_home = true
  }
}

output "resource_ids" {
  description = "AWS's own ids of the home (vol-…) and of the machine (i-…, null where there is none)."
  value = {
    home     = one(module.home[*].id)
    instance = one(aws_instance.machine[*].id)
    identity = null
  }
}
