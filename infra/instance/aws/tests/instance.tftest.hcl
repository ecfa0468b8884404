# What is planned and made, in which state, with which words. AWS is mocked: nothing is asked of any account.
# What the real provider does with it is played by tests/infra/aws.

mock_provider "aws" {
  mock_resource "aws_instance" {
    defaults = {
      id             = "i-0123456789abcdef0"
      private_ip     = "10.0.1.23"
      public_ip      = ""
      ipv6_addresses = []
    }
  }
  mock_resource "aws_ebs_volume" {
    defaults = { id = "vol-0123456789abcdef0" }
  }
  mock_resource "aws_security_group" {
    defaults = { id = "sg-0123456789abcdef0" }
  }
  mock_data "aws_vpc" {
    defaults = { cidr_block = "10.0.0.0/16" }
  }
  mock_data "aws_prefix_list" {
    defaults = { id = "pl-63a5400a" }
  }
}

variables {
  instance_id   = "i-0123456789"
  name          = "brain"
  owner         = "ada"
  project       = "demo"
  machine_type  = "m7i.large"
  image         = "ami-0123456789abcdef0"
  desired_state = "running"
  generation    = 1
  home_gib      = 10
  datasets = [
    { dataset = "ct", version = "1", tier = 2, source = "ebs:snap-0123456789abcdef0" },
    { dataset = "eeg", version = "2", tier = 0, source = "efs:fs-0123456789abcdef0:/eeg" },
    { dataset = "mr", version = "1", tier = 0, source = "s3:open-mr/v1" },
  ]
  tags = { project = "demo" }
  network = {
    region                    = "eu-central-1"
    vpc_id                    = "vpc-0123456789abcdef0"
    subnet_id                 = "subnet-0123456789abcdef0"
    availability_zone         = "eu-central-1a"
    gateway_security_group_id = "sg-0aaaaaaaaaaaaaaa0"
    api_security_group_id     = "sg-0bbbbbbbbbbbbbbb0"
    api_cidrs                 = ["10.0.9.0/24"]
    api_url                   = "https://api.example.org"
    instance_profile          = "nightingale-instance"
    owner_uid                 = 10007
  }
}

run "running_is_a_private_machine_with_a_home" {
  command = apply

  assert {
    condition     = output.address == "tcp:10.0.1.23:8888" && output.home_id == "vol-0123456789abcdef0"
    error_message = "A running machine has an address inside the network, and a home."
  }
  assert {
    condition     = output.resource_ids == { home = "vol-0123456789abcdef0", instance = "i-0123456789abcdef0", identity = null }
    error_message = "The ids are AWS's own."
  }
  assert {
    condition     = output.capabilities == { stop = true, resize = true, spot = true, block_home = true }
    error_message = "EC2 can do all of it."
  }
  assert {
    condition     = aws_instance.machine[0].associate_public_ip_address == false
    error_message = "No public address may be asked for."
  }
  assert {
    condition = (
      aws_instance.machine[0].metadata_options[0].http_tokens == "required"
      && aws_instance.machine[0].metadata_options[0].http_put_response_hop_limit == 1
    )
    error_message = "The metadata service answers tokens only, one hop away."
  }
  assert {
    condition = (
      aws_instance.machine[0].root_block_device[0].encrypted && module.home[0].id != null
      && aws_ebs_volume.dataset["ct"].encrypted && aws_ebs_volume.dataset["ct"].type == "gp3"
    )
    error_message = "Every disk is encrypted."
  }
  assert {
    condition     = aws_instance.machine[0].disable_api_termination && length(aws_instance.machine[0].instance_market_options) == 0
    error_message = "On demand, and ended by Terraform only."
  }
  assert {
    condition     = aws_ec2_instance_state.machine[0].state == "running"
    error_message = "It runs."
  }
}

run "only_gateway_and_watcher_come_in_and_only_what_is_needed_goes_out" {
  command = plan

  assert {
    condition = jsonencode([for rule in aws_security_group.machine[0].ingress : [rule.from_port, rule.to_port, sort(rule.security_groups), coalesce(rule.cidr_blocks, [])]]) == jsonencode([
      [8888, 8888, ["sg-0aaaaaaaaaaaaaaa0", "sg-0bbbbbbbbbbbbbbb0"], []]
    ])
    error_message = "In: the port of Jupyter, from two groups, from no range of addresses."
  }
  assert {
    condition = toset([for rule in aws_security_group.machine[0].egress : jsonencode([rule.protocol, rule.from_port, coalesce(rule.cidr_blocks, []), coalesce(rule.prefix_list_ids, [])])]) == toset([
      jsonencode(["tcp", 443, ["10.0.9.0/24"], []]),
      jsonencode(["tcp", 2049, ["10.0.0.0/16"], []]),
      jsonencode(["tcp", 443, [], ["pl-63a5400a"]]),
    ])
    error_message = "Out: the API, EFS inside the network, S3 by its prefix list."
  }
}

run "a_package_index_is_reached_at_its_one_address_and_port" {
  command = plan

  variables {
    datasets = []
    network = {
      region                    = "eu-central-1"
      vpc_id                    = "vpc-0123456789abcdef0"
      subnet_id                 = "subnet-0123456789abcdef0"
      availability_zone         = "eu-central-1a"
      gateway_security_group_id = "sg-0aaaaaaaaaaaaaaa0"
      api_cidrs                 = ["10.0.9.0/24"]
      api_url                   = "https://api.example.org"
      instance_profile          = "nightingale-instance"
      packages                  = { address = "10.0.192.10:3142", sha256 = "abababababababababababababababababababababababababababababababab" }
    }
  }
  assert {
    condition = toset([for rule in aws_security_group.machine[0].egress : jsonencode([rule.protocol, rule.from_port, rule.to_port, rule.cidr_blocks])]) == toset([
      jsonencode(["tcp", 443, 443, ["10.0.9.0/24"]]),
      jsonencode(["tcp", 3142, 3142, ["10.0.192.10/32"]]),
    ])
    error_message = "Out: the API, and the package index."
  }
}

run "without_such_datasets_nothing_but_the_api_is_reached" {
  command = plan

  variables {
    datasets = [{ dataset = "ct", version = "1", tier = 3, source = "ebs:snap-0123456789abcdef0" }]
  }
  assert {
    condition     = jsonencode([for rule in aws_security_group.machine[0].egress : [rule.from_port, rule.cidr_blocks]]) == jsonencode([[443, ["10.0.9.0/24"]]])
    error_message = "Out: the API alone."
  }
}

run "the_machine_is_told_what_it_is_and_no_secret" {
  command = plan

  assert {
    condition     = local.told.tier == 2 && local.told.owner_uid == 10007 && local.told.api_url == "https://api.example.org"
    error_message = "The strictest dataset decides the tier."
  }
  assert {
    condition     = local.told.home.device == "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0" && local.told.home.mount == "/srv/nightingale/home"
    error_message = "The home is found by its volume's serial number."
  }
  assert {
    condition = [for d in local.told.datasets : "${d.kind} ${d.source} ${d.mount}"] == [
      "ebs /dev/sdg /srv/nightingale/data/ct", "efs fs-0123456789abcdef0:/eeg /srv/nightingale/data/eeg", "s3 open-mr/v1 /srv/nightingale/data/mr",
    ]
    error_message = "Each dataset is told by kind, source and folder."
  }
  assert {
    condition     = jsondecode(base64decode(yamldecode(aws_instance.machine[0].user_data).write_files[0].content)) == jsondecode(jsonencode(local.told))
    error_message = "The cloud-init file carries just that."
  }
  assert {
    condition     = length(aws_instance.machine[0].user_data) < 8192
    error_message = "EC2 takes 16 KiB; half of it is left for long names."
  }
}

run "what_is_made_carries_its_platforms_tag_and_key" {
  command = plan

  variables {
    kms_key = "arn:aws:kms:eu-central-1:123456789012:key/homes"
    network = {
      region                    = "eu-central-1"
      vpc_id                    = "vpc-0123456789abcdef0"
      subnet_id                 = "subnet-0123456789abcdef0"
      availability_zone         = "eu-central-1a"
      gateway_security_group_id = "sg-0aaaaaaaaaaaaaaa0"
      api_cidrs                 = ["10.0.9.0/24"]
      api_url                   = "https://api.example.org"
      instance_profile          = "nightingale-instance"
      platform                  = "nightingale"
    }
  }
  assert {
    condition     = local.whose["nightingale:platform"] == "nightingale" && local.whose["nightingale:instance"] == "i-0123456789"
    error_message = "Policies of the control plane go by these tags."
  }
  assert {
    condition = (
      aws_instance.machine[0].root_block_device[0].kms_key_id == var.kms_key
      && aws_ebs_volume.dataset["ct"].kms_key_id == var.kms_key
    )
    error_message = "One key encrypts every disk."
  }
}

run "stopped_keeps_home_and_machine_and_lets_the_datasets_go" {
  command = apply

  variables {
    desired_state = "stopped"
    generation    = 2
  }
  assert {
    condition     = output.address == null && aws_ec2_instance_state.machine[0].state == "stopped" && length(aws_ebs_volume.dataset) == 0
    error_message = "Stopped: no address, nothing but home and machine are paid for."
  }
  assert {
    condition     = output.home_id == "vol-0123456789abcdef0" && length(aws_volume_attachment.home) == 1
    error_message = "The home stays, attached."
  }
}

run "a_stopped_spot_machine_is_none_and_its_home_stays" {
  command = plan

  variables {
    desired_state = "stopped"
    spot          = true
  }
  assert {
    condition     = length(aws_instance.machine) == 0 && length(module.home) == 1 && output.resource_ids.instance == null && output.log_ref == null
    error_message = "A one-time spot machine cannot be stopped."
  }
}

run "spot_is_one_time" {
  command = plan

  variables {
    spot = true
  }
  assert {
    condition = (
      aws_instance.machine[0].instance_market_options[0].spot_options[0].spot_instance_type == "one-time"
      && aws_instance.machine[0].instance_market_options[0].spot_options[0].instance_interruption_behavior == "terminate"
      && aws_instance.machine[0].instance_initiated_shutdown_behavior == "terminate"
      && !aws_instance.machine[0].disable_api_termination && length(aws_ec2_instance_state.machine) == 0
    )
    error_message = "AWS must never start a spot machine by itself."
  }
}

run "absent_leaves_nothing" {
  command = apply

  variables {
    desired_state = "absent"
    generation    = 4
  }
  assert {
    condition     = output.home_id == null && output.resource_ids.instance == null && length(aws_security_group.machine) == 0
    error_message = "Absent: neither home nor machine nor group."
  }
}

run "a_machine_with_a_public_address_is_an_error" {
  command = apply

  override_resource {
    target = aws_instance.machine
    values = { private_ip = "10.0.1.23", public_ip = "203.0.113.9", ipv6_addresses = [] }
  }
  expect_failures = [aws_instance.machine]
}

run "but_it_can_be_stopped" {
  command = apply

  variables {
    desired_state = "stopped"
  }
  assert {
    condition     = aws_instance.machine[0].public_ip == "203.0.113.9" && aws_ec2_instance_state.machine[0].state == "stopped"
    error_message = "A stop must work whatever somebody did by hand."
  }
}

run "and_removed" {
  command = apply

  variables {
    desired_state = "absent"
  }
}

run "a_machine_with_an_ipv6_address_is_an_error" {
  command = apply

  override_resource {
    target = aws_instance.machine
    values = { private_ip = "10.0.1.23", public_ip = "", ipv6_addresses = ["2001:db8::1"] }
  }
  expect_failures = [aws_instance.machine]
}
