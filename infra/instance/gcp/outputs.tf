output "instance_id" {
  description = "The instance's id."
  value       = var.instance_id
}

output "home_id" {
  description = "The home's bucket; null when it is gone."
  value       = one(module.home[*].name)
}

output "address" {
  description = "Where the service answers: tcp:host:443, which speaks TLS and wants the gateway's token; null when it does not run."
  value       = local.is_running ? "tcp:${trimprefix(google_cloud_run_v2_service.instance[0].uri, "https://")}:443" : null
}

output "state" {
  description = "running or absent."
  value       = var.desired_state
}

output "machine_type" {
  description = "The size as this place calls it."
  value       = var.machine_type
}

output "log_ref" {
  description = "Where the Jupyter server's log lies: the service in Cloud Logging; null where there is none."
  value       = local.is_running ? "cloud-logging:${google_cloud_run_v2_service.instance[0].id}" : null
}

output "capabilities" {
  description = "What this place can do: stop and keep the home, resize, spot machines, a home on a block device."
  value = {
    stop       = false
    resize     = true
    spot       = false
    block_home = false
  }
}

output "resource_ids" {
  description = "Google's own ids of the home's bucket and of the service; null where there is none."
  value = {
    home     = one(module.home[*].name)
    instance = one(google_cloud_run_v2_service.instance[*].id)
    identity = null
  }
}
