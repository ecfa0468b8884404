# The package index of instances: nothing of it without being asked for, and with it one way in and one out.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
}

variables {
  region             = "eu-central-1"
  zones              = ["eu-central-1a", "eu-central-1b"]
  functions_package  = "versions.tf" # any file: only its sum is looked at
  platform_package   = "versions.tf"
  gateway_package    = "versions.tf"
  scan_package       = "versions.tf"
  packages_package   = "versions.tf"
  packages_sha256    = "abababababababababababababababababababababababababababababababab"
  gateway_host_key   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpvvzHn3tD1lEf4Tl2s0N9n8uXkq4m1nG6a9d2r7sZb"
  gateway_cidrs      = ["192.0.2.0/24"]
  alarm_emails       = ["ops@example.org"]
  monthly_budget_usd = 500
}

run "without_a_word_there_is_none_and_no_way_out" {
  command = plan

  assert {
    condition     = length(aws_instance.packages) + length(aws_nat_gateway.packages) + length(aws_subnet.packages) + length(local.packages_ways) == 0
    error_message = "Whoever does not ask for it gets nothing of it."
  }
  assert {
    condition     = local.networks["eu-central-1a"].packages == null
    error_message = "And machines are told so."
  }
}

run "by_a_nat_gateway" {
  command = plan
  variables {
    packages = { egress = "nat" }
  }

  assert {
    condition     = local.networks["eu-central-1a"].packages == { address = "10.64.192.10:3142", sha256 = var.packages_sha256 }
    error_message = "Machines are told where it is, and what it shows."
  }
  assert {
    condition     = aws_instance.packages[0].private_ip == "10.64.192.10" && aws_subnet.packages[0].cidr_block == "10.64.192.0/20" && !aws_instance.packages[0].associate_public_ip_address
    error_message = "It stands in a subnet of its own, and nobody outside reaches it."
  }
  assert {
    condition     = toset([for one in aws_vpc_security_group_ingress_rule.packages_from_instances : one.cidr_ipv4]) == toset(aws_subnet.instances[*].cidr_block) && alltrue([for one in aws_vpc_security_group_ingress_rule.packages_from_instances : one.from_port == 3142 && one.to_port == 3142])
    error_message = "Instances reach it, at one port."
  }
  assert {
    condition     = local.packages_ways["packages_to_indexes"].port == 443 && local.packages_ways["packages_to_indexes"].cidr == "0.0.0.0/0"
    error_message = "It reaches indexes by https."
  }
  assert {
    condition     = length(aws_route_table.instances.route) == 0 && length(aws_route_table.inside.route) == 0 && aws_route.packages[0].destination_cidr_block == "0.0.0.0/0"
    error_message = "Nobody else has a way out by it."
  }
  assert {
    condition     = aws_launch_template.packages[0].metadata_options[0].http_tokens == "required" && aws_launch_template.packages[0].block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "Credentials for who asks with a token only, disks encrypted."
  }
}

run "by_a_proxy_of_the_account_s_own" {
  command = plan
  variables {
    packages = { egress = "http://10.9.8.7:3128" }
  }

  assert {
    condition     = local.packages_ways["packages_to_indexes"].port == 3128 && local.packages_ways["packages_to_indexes"].cidr == "10.9.8.7/32"
    error_message = "It reaches the proxy, and nobody else."
  }
  assert {
    condition     = length(aws_nat_gateway.packages) + length(aws_eip.packages) + length(aws_route.packages) == 0
    error_message = "Without a NAT gateway there is none."
  }
}

run "a_way_out_that_is_none_is_refused" {
  command = plan
  variables {
    packages = { egress = "everywhere" }
  }
  expect_failures = [var.packages]
}

run "an_index_with_a_password_in_its_address_is_refused" {
  command = plan
  variables {
    packages = { egress = "nat", index = "https://me:secret@pypi.example.org/simple" }
  }
  expect_failures = [var.packages]
}

run "beside_a_place_in_azure" {
  command = plan
  variables {
    packages       = { egress = "nat" }
    azure_machines = { tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47", audience = "api://nightingale-machines" }
    azure_place = {
      location         = "germanywestcentral"
      resource_group   = "nightingale-instances"
      subnet_id        = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/nightingale-instances/providers/Microsoft.Network/virtualNetworks/instances/subnets/instances"
      cidr             = "10.80.16.0/20"
      client_id        = "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a11"
      builds_client_id = "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a12"
      image            = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/images/providers/Microsoft.Compute/images/nightingale"
      vpn_gateway_id   = "vgw-0123456789abcdef0"
    }
  }

  assert {
    condition     = setunion(keys(local.packages_ways), keys(local.ways_to_azure)) == setintersection(keys(aws_vpc_security_group_egress_rule.way), setunion(keys(local.packages_ways), keys(local.ways_to_azure)))
    error_message = "Each has its own ways out of its own group."
  }
  assert {
    condition     = length(aws_nat_gateway.packages) == 1 && length(aws_nat_gateway.azure) == 1 && length(aws_route_table.instances.route) == 0
    error_message = "Each has its own address outside; instances have none."
  }
}
