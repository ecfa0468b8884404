# What is planned, without an account: the provider is played.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
}

variables {
  name   = "nightingale"
  region = "eu-west-1"
  zone   = "eu-west-1a"
  cidr   = "10.65.0.0/16"
  home = {
    region     = "eu-central-1"
    vpc_id     = "vpc-0123456789abcdef0"
    cidrs      = ["10.64.32.0/20", "10.64.48.0/20"]
    api_hosts  = ["api-vpce-1.execute-api.eu-central-1.amazonaws.com"]
    flows_role = "arn:aws:iam::123456789012:role/nightingale-flows"
  }
}

run "the_one_way_out_is_the_peering_to_the_subnets_that_are_named" {
  command = plan

  assert {
    condition     = toset(aws_route_table.inside.route[*].cidr_block) == toset(["10.64.32.0/20", "10.64.48.0/20"])
    error_message = "Instances reach the platform's inside subnets, and not its whole network."
  }
  assert {
    condition     = length(aws_vpc_endpoint.s3) == 0
    error_message = "Without datasets in S3, instances reach no S3."
  }
  assert {
    condition     = toset([for one in aws_vpc_security_group_ingress_rule.doors_from_home : one.cidr_ipv4]) == toset(var.home.cidrs)
    error_message = "Only the platform's watchers reach EC2's endpoint: instances here do not."
  }
}

run "subnets_share_no_address_and_lie_in_one_zone" {
  command = plan

  assert {
    condition     = [aws_subnet.instances.cidr_block, aws_subnet.doors.cidr_block] == ["10.65.0.0/17", "10.65.128.0/20"]
    error_message = "Half of the network is for instances."
  }
  assert {
    condition     = aws_subnet.instances.availability_zone == "eu-west-1a" && aws_subnet.doors.availability_zone == "eu-west-1a"
    error_message = "A home stays in its zone."
  }
  assert {
    condition     = aws_kms_key.homes.enable_key_rotation && aws_kms_alias.homes.name == "alias/nightingale-homes"
    error_message = "The key has the same name as in the platform's own region, and is turned."
  }
}

run "datasets_in_s3_open_one_door_for_what_is_named" {
  command = plan
  variables {
    dataset_buckets = ["open-mr/v1"]
  }

  assert {
    condition     = aws_vpc_endpoint.s3[0].policy == module.datasets.passing && strcontains(module.datasets.passing, "arn:aws:s3:::open-mr/v1/*")
    error_message = "What is named, and nothing else."
  }
}

run "a_way_to_everywhere_is_refused" {
  command = plan
  variables {
    home = {
      region     = "eu-central-1"
      vpc_id     = "vpc-0123456789abcdef0"
      cidrs      = ["0.0.0.0/0"]
      api_hosts  = ["api.example.org"]
      flows_role = "arn:aws:iam::123456789012:role/nightingale-flows"
    }
  }
  expect_failures = [var.home]
}

run "a_bucket_that_is_a_pattern_is_refused" {
  command = plan
  variables {
    dataset_buckets = ["open-mr/*"]
  }
  expect_failures = [var.dataset_buckets]
}

run "a_zone_of_another_region_is_refused" {
  command = plan
  variables {
    zone = "eu-central-1a"
  }
  expect_failures = [var.zone]
}
