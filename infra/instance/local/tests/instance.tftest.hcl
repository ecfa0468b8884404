# Runs the module for real with a launcher that does nothing (`true`): what is planned, in which order, with which words.

variables {
  instance_id   = "i-0123456789"
  name          = "brain"
  owner         = "ada"
  project       = "demo"
  machine_type  = "c2-m4096-g0"
  image         = "/opt/image/bin/python"
  desired_state = "running"
  generation    = 1
  home_gib      = 10
  datasets = [
    { dataset = "ct", version = "1", tier = 0, source = "/srv/ct" },
    { dataset = "eeg", version = "2", tier = 2, source = "/srv/eeg" },
  ]
  network = { data_dir = "/srv/nightingale", launcher = ["true"] }
}

run "running_gives_an_address" {
  assert {
    condition     = output.address == "unix:/srv/nightingale/instances/i-0123456789/run/jupyter.sock"
    error_message = "The address is the instance's own socket."
  }
  assert {
    condition     = output.state == "running" && output.home_id == "/srv/nightingale/homes/i-0123456789"
    error_message = "A running instance has a home."
  }
  assert {
    condition     = local.tier == 2
    error_message = "The strictest dataset decides the tier."
  }
  assert {
    condition     = local.launch_spec.cores == 2 && local.launch_spec.memory_mib == 4096
    error_message = "The size is read out of the machine type."
  }
}

run "an_image_may_name_a_container" {
  command = plan

  variables {
    network = { data_dir = "/srv/nightingale", launcher = ["true"], container = "localhost/notebook:cpu" }
  }
  assert {
    condition     = local.launch_spec.container == "localhost/notebook:cpu" && local.launch_spec.python == "/opt/image/bin/python"
    error_message = "The launcher is told of the container and of the environment beside it."
  }
}

run "a_new_generation_replaces_the_instance_and_keeps_the_home" {
  variables {
    generation = 2
  }
  assert {
    condition     = terraform_data.home[0].id == run.running_gives_an_address.resource_ids.home
    error_message = "The home must survive a new generation."
  }
  assert {
    condition     = terraform_data.instance[0].id != run.running_gives_an_address.resource_ids.instance
    error_message = "A new generation must be a new instance."
  }
}

run "stopped_keeps_the_home" {
  variables {
    desired_state = "stopped"
    generation    = 2
  }
  assert {
    condition     = output.address == null && length(terraform_data.instance) == 0 && length(terraform_data.home) == 1
    error_message = "Stopped: no address, a home."
  }
}

run "absent_leaves_nothing" {
  variables {
    desired_state = "absent"
    generation    = 2
  }
  assert {
    condition     = output.home_id == null && length(terraform_data.home) == 0
    error_message = "Absent: no home."
  }
}

run "a_machine_type_is_checked" {
  command = plan
  variables {
    machine_type = "large"
  }
  expect_failures = [var.machine_type]
}

run "gpus_are_refused" {
  command = plan
  variables {
    machine_type = "c1-m1024-g1"
  }
  expect_failures = [var.machine_type]
}

run "a_strange_instance_id_is_refused" {
  command = plan
  variables {
    instance_id = "i-../../etc"
  }
  expect_failures = [var.instance_id]
}

run "one_dataset_in_two_versions_is_refused" {
  command = plan
  variables {
    datasets = [
      { dataset = "ct", version = "1", tier = 0, source = "/srv/ct" },
      { dataset = "ct", version = "2", tier = 0, source = "/srv/ct2" },
    ]
  }
  expect_failures = [var.datasets]
}
