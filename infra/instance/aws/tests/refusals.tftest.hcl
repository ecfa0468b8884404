# What is refused before AWS hears of it.

mock_provider "aws" {}

variables {
  instance_id   = "i-0123456789"
  name          = "brain"
  owner         = "ada"
  project       = "demo"
  machine_type  = "m7i.large"
  image         = "ami-0123456789abcdef0"
  desired_state = "absent"
  generation    = 1
  home_gib      = 10
  network = {
    region                    = "eu-central-1"
    vpc_id                    = "vpc-0123456789abcdef0"
    subnet_id                 = "subnet-0123456789abcdef0"
    availability_zone         = "eu-central-1a"
    gateway_security_group_id = "sg-0aaaaaaaaaaaaaaa0"
    api_cidrs                 = ["10.0.9.0/24"]
    api_url                   = "https://api.example.org"
    instance_profile          = "nightingale-instance"
  }
}

run "a_local_source_is_refused" {
  command = plan
  variables {
    datasets = [{ dataset = "ct", version = "1", tier = 0, source = "/srv/ct" }]
  }
  expect_failures = [var.datasets]
}

run "a_path_that_climbs_is_refused" {
  command = plan
  variables {
    datasets = [{ dataset = "ct", version = "1", tier = 0, source = "efs:fs-0123456789abcdef0:/a/../b" }]
  }
  expect_failures = [var.datasets]
}

run "a_watched_dataset_over_the_network_is_refused" {
  command = plan
  variables {
    datasets = [{ dataset = "ct", version = "1", tier = 1, source = "s3:bucket/prefix" }]
  }
  expect_failures = [var.datasets]
}

run "one_dataset_in_two_versions_is_refused" {
  command = plan
  variables {
    datasets = [
      { dataset = "ct", version = "1", tier = 0, source = "ebs:snap-0123456789abcdef0" },
      { dataset = "ct", version = "2", tier = 0, source = "ebs:snap-0123456789abcdef1" },
    ]
  }
  expect_failures = [var.datasets]
}

run "an_eleventh_disk_is_refused" {
  command = plan
  variables {
    datasets = [for n in range(11) : { dataset = "d${n}", version = "1", tier = 0, source = "ebs:snap-0123456789abcdef0" }]
  }
  expect_failures = [var.datasets]
}

run "an_old_machine_type_is_refused" {
  command = plan
  variables {
    machine_type = "p2.xlarge"
  }
  expect_failures = [var.machine_type]
}

run "a_local_size_is_refused" {
  command = plan
  variables {
    machine_type = "c2-m4096-g0"
  }
  expect_failures = [var.machine_type]
}

run "an_image_that_is_no_ami_is_refused" {
  command = plan
  variables {
    image = "/opt/image/bin/python"
  }
  expect_failures = [var.image]
}

run "a_way_out_to_everywhere_is_refused" {
  command = plan
  variables {
    network = {
      region                    = "eu-central-1"
      vpc_id                    = "vpc-0123456789abcdef0"
      subnet_id                 = "subnet-0123456789abcdef0"
      availability_zone         = "eu-central-1a"
      gateway_security_group_id = "sg-0aaaaaaaaaaaaaaa0"
      api_cidrs                 = ["10.0.9.0/24", "0.0.0.0/0"]
      api_url                   = "https://api.example.org"
      instance_profile          = "nightingale-instance"
    }
  }
  expect_failures = [var.network]
}

run "a_strange_instance_id_is_refused" {
  command = plan
  variables {
    instance_id = "i-../../etc"
  }
  expect_failures = [var.instance_id]
}

run "a_machine_that_everyone_reaches_is_refused" {
  command = plan
  variables {
    network = {
      region            = "eu-central-1"
      vpc_id            = "vpc-0123456789abcdef0"
      subnet_id         = "subnet-0123456789abcdef0"
      availability_zone = "eu-central-1a"
      gateway_cidrs     = ["10.0.0.0/8"]
      api_cidrs         = ["10.0.9.0/24"]
      api_url           = "https://api.example.org"
      instance_profile  = "nightingale-instance"
    }
  }
  expect_failures = [var.network]
}

run "a_machine_that_no_gateway_reaches_is_refused" {
  command = plan
  variables {
    network = {
      region            = "eu-central-1"
      vpc_id            = "vpc-0123456789abcdef0"
      subnet_id         = "subnet-0123456789abcdef0"
      availability_zone = "eu-central-1a"
      api_cidrs         = ["10.0.9.0/24"]
      api_url           = "https://api.example.org"
      instance_profile  = "nightingale-instance"
    }
  }
  expect_failures = [var.network]
}
