# An instance on this machine: a home folder that outlives stops, and a launcher that Terraform starts and ends.
# Only Terraform's builtin terraform_data is used, so init downloads nothing.

locals {
  size         = regex("^c(?P<cores>[0-9]+)-m(?P<memory_mib>[0-9]+)-g(?P<gpus>[0-9]+)$", var.machine_type)
  instance_dir = "${var.network.data_dir}/instances/${var.instance_id}"
  home_dir     = "${var.network.data_dir}/homes/${var.instance_id}"

  # The strictest of what is mounted decides.
  tier = max(concat([0], [for d in var.datasets : d.tier])...)

  # contract.build.LaunchSpec: it carries no secret, the launcher makes the token itself.
  launch_spec = {
    instance_id  = var.instance_id
    name         = var.name
    project      = var.project
    owner        = var.owner
    owner_uid    = var.network.owner_uid
    generation   = var.generation
    instance_dir = local.instance_dir
    home_dir     = local.home_dir
    python       = var.image
    container    = var.network.container
    cores        = tonumber(local.size.cores)
    memory_mib   = tonumber(local.size.memory_mib)
    disk_gib     = var.home_gib
    tier         = local.tier
    datasets     = var.datasets
  }
}

resource "terraform_data" "home" {
  count = var.desired_state == "absent" ? 0 : 1

  input = {
    launcher     = var.network.launcher
    home_dir     = local.home_dir
    instance_dir = local.instance_dir
    tags         = merge(var.tags, { project = var.project })
  }

  # A destroy provisioner sees self only: all that it needs was kept in input.
  provisioner "local-exec" {
    when        = destroy
    interpreter = self.input.launcher
    command     = "remove"
    environment = {
      NIGHTINGALE_REMOVE = jsonencode({ home_dir = self.input.home_dir, instance_dir = self.input.instance_dir })
    }
  }
}

resource "terraform_data" "instance" {
  count = var.desired_state == "running" ? 1 : 0

  # The generation makes a retry a real change: after a crash or a reboot the state still says "running".
  triggers_replace = [var.generation, var.machine_type, var.image, var.network.container, var.datasets]

  input = {
    launcher     = var.network.launcher
    home_id      = terraform_data.home[0].id
    instance_dir = local.instance_dir
  }

  # The interpreter is the launcher itself, so no shell reads anything.
  provisioner "local-exec" {
    interpreter = var.network.launcher
    command     = "start"
    environment = {
      NIGHTINGALE_LAUNCH = jsonencode(local.launch_spec)
    }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = self.input.launcher
    command     = "stop"
    environment = {
      NIGHTINGALE_STOP = jsonencode({ instance_dir = self.input.instance_dir })
    }
  }
}
