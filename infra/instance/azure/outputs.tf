output "instance_id" {
  description = "The instance's id."
  value       = var.instance_id
}

output "home_id" {
  description = "The home's disk, its id in Azure; null when it is gone."
  value       = one(module.home[*].id)
}

output "address" {
  description = "Where Jupyter listens: tcp:host:port inside the private network; null when it does not run."
  value       = local.is_running ? "tcp:${azurerm_network_interface.machine[0].private_ip_address}:${local.port}" : null
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
  value       = local.is_absent ? null : "journal:${azurerm_linux_virtual_machine.machine[0].id}:nightingale-instance.service"
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
  description = "Azure's own ids of the home, of the machine and of the identity that it proves itself by; null where there is none."
  value = {
    home     = one(module.home[*].id)
    instance = one(azurerm_linux_virtual_machine.machine[*].id)
    identity = one([for one in azurerm_linux_virtual_machine.machine : one.identity[0].principal_id])
  }
}
