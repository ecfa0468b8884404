# What is planned, without an account: the provider is played. Policies are checked in tests/infra/control_plane.

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
  platform_package   = "versions.tf" # any file: only its sum is looked at
  gateway_package    = "versions.tf" # any file: only its sum is looked at
  scan_package       = "versions.tf" # any file: only its sum is looked at
  gateway_host_key   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpvvzHn3tD1lEf4Tl2s0N9n8uXkq4m1nG6a9d2r7sZb"
  gateway_cidrs      = ["192.0.2.0/24"]
  alarm_emails       = ["ops@example.org"]
  monthly_budget_usd = 500
}

run "the_table_is_kept" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.platform.deletion_protection_enabled && aws_dynamodb_table.platform.point_in_time_recovery[0].enabled
    error_message = "The table cannot be deleted by mistake, and can be brought back to any second."
  }
  assert {
    condition     = aws_dynamodb_table.platform.ttl[0].attribute_name == "expires_at" && aws_dynamodb_table.platform.server_side_encryption[0].enabled
    error_message = "What has expired goes, and a key of ours encrypts the table."
  }
  assert {
    condition     = alltrue([for one in aws_s3_bucket.kept : !one.force_destroy])
    error_message = "No bucket goes while something is in it."
  }
}

run "keys_turn_and_secrets_stay_out" {
  command = plan

  assert {
    condition     = aws_kms_key.data.enable_key_rotation && aws_kms_key.homes.enable_key_rotation
    error_message = "Keys are turned every year."
  }
  assert {
    condition     = aws_launch_template.gateway.metadata_options[0].http_tokens == "required"
    error_message = "The gateway's machine gives credentials to who asks with a token only."
  }
}

run "instances_and_watchers_have_no_way_out" {
  command = plan

  assert {
    condition     = length(aws_route_table.instances.route) == 0 && length(aws_route_table.inside.route) == 0
    error_message = "No route leads out of the private subnets."
  }
  assert {
    condition     = length(aws_vpc_endpoint.s3_instances) == 0
    error_message = "Without datasets in S3, instances reach no S3."
  }
  assert {
    condition     = length([for name, way in local.ways : name if lookup(way, "cidr", "") == "0.0.0.0/0"]) == 0
    error_message = "Nothing may speak with everyone."
  }
}

run "what_the_place_aws_is_told" {
  command = plan
  variables {
    instance_image = "ami-0123456789abcdef0"
  }
  override_resource {
    target          = aws_kms_key.homes
    override_during = plan
    values          = { arn = "arn:aws:kms:eu-central-1:123456789012:key/homes" }
  }

  assert {
    condition     = local.networks["eu-central-1a"].kms_key == "arn:aws:kms:eu-central-1:123456789012:key/homes"
    error_message = "Homes and disks are encrypted by the platform's own key."
  }
  assert {
    condition     = local.networks["eu-central-1a"].platform == "nightingale"
    error_message = "The tag by which policies tell two platforms of one account apart."
  }
  assert {
    condition     = contains(keys(local.place), "NIGHTINGALE_QUARANTINE_GROUP") && aws_security_group.quarantine.name == "nightingale-quarantine"
    error_message = "Whoever puts machines into quarantine knows the group."
  }
}

run "datasets_in_s3_open_one_door_for_what_is_named" {
  command = plan
  variables {
    dataset_buckets = ["open-mr/v1"]
  }

  assert {
    condition     = aws_vpc_endpoint.s3_instances[0].policy == module.datasets.passing && aws_iam_role_policy.instance[0].policy == module.datasets.policy
    error_message = "Role and endpoint say the same."
  }
  assert {
    condition     = strcontains(module.datasets.policy, "arn:aws:s3:::open-mr/v1/*") && aws_iam_policy.instance_boundary.policy == module.datasets.boundary
    error_message = "The boundary allows exactly that."
  }
}

run "logs_of_clouds_are_read_by_the_scan_alone" {
  command = plan
  variables {
    watched_logs     = ["our-trails/AWSLogs"]
    watched_log_keys = ["arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d"]
  }

  assert {
    condition     = aws_iam_role_policy.watched_logs[0].role == aws_iam_role.function["scan"].name && strcontains(aws_iam_role_policy.watched_logs[0].policy, "arn:aws:s3:::our-trails/AWSLogs/*") && !strcontains(aws_iam_role_policy.watched_logs[0].policy, "Put")
    error_message = "The scan reads them, and only reads."
  }
  assert {
    condition     = jsondecode(aws_iam_role_policy.watched_log_keys[0].policy).Statement[0].Action == ["kms:Decrypt"]
    error_message = "And opens what they are encrypted with."
  }
}

run "logs_of_clouds_by_a_pattern_are_refused" {
  command = plan
  variables {
    watched_logs = ["our-*"]
  }
  expect_failures = [var.watched_logs]
}

run "a_bucket_that_is_a_pattern_is_refused" {
  command = plan
  variables {
    dataset_buckets = ["open-mr/*"]
  }
  expect_failures = [var.dataset_buckets]
}

run "a_name_with_a_dash_is_refused" {
  command = plan
  variables {
    name = "one-two"
  }
  expect_failures = [var.name]
}

run "a_platform_that_ends_lets_go_of_table_and_buckets" {
  command = plan
  variables {
    is_ending = true
  }

  assert {
    condition     = !aws_dynamodb_table.platform.deletion_protection_enabled && alltrue([for one in aws_s3_bucket.kept : one.force_destroy])
    error_message = "./run destroy aws could not take down the table or a bucket."
  }
}

run "everyone_may_be_let_in_but_only_by_saying_so" {
  command = plan
  variables {
    gateway_cidrs = ["0.0.0.0/0"]
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.people) == 1
    error_message = "One rule for each network."
  }
}

run "a_long_name_is_refused" {
  command = plan
  variables {
    name = "a-name-that-is-too-long"
  }
  expect_failures = [var.name]
}

run "a_host_key_with_a_comment_is_refused" {
  command = plan
  variables {
    gateway_host_key = "ssh-ed25519 AAAA someone@somewhere"
  }
  expect_failures = [var.gateway_host_key]
}

run "one_zone_is_not_enough" {
  command = plan
  variables {
    zones = ["eu-central-1a", "eu-central-1a"]
  }
  expect_failures = [var.zones]
}

run "the_second_backend_is_one_identity_of_one_tenant" {
  command = plan
  variables {
    azure = {
      tenant   = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
      audience = "api://nightingale"
      subject  = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    }
  }

  assert {
    condition     = aws_iam_openid_connect_provider.azure[0].url == "https://sts.windows.net/3f2504e0-4f89-11d3-9a0c-0305e82c3301/"
    error_message = "The issuer is the tenant's own."
  }
  assert {
    condition     = toset([for one in data.aws_iam_policy_document.azure[0].statement[0].condition : one.variable]) == toset(["sts.windows.net/3f2504e0-4f89-11d3-9a0c-0305e82c3301/:aud", "sts.windows.net/3f2504e0-4f89-11d3-9a0c-0305e82c3301/:sub"])
    error_message = "Audience and subject are both asked for."
  }
}

run "the_second_backend_is_told_the_whole_place_before_its_role_is_made" {
  command = plan
  variables {
    instance_image = "ami-0123456789abcdef0"
  }

  assert {
    condition     = toset(keys(output.second_backend.place)) == toset(["NIGHTINGALE_AWS_ACCOUNT", "NIGHTINGALE_AWS_IMAGE", "NIGHTINGALE_AWS_INSTANCE_ROLE", "NIGHTINGALE_AWS_NETWORK", "NIGHTINGALE_QUARANTINE_GROUP"])
    error_message = "What Lambda is told of the place, the second backend is told too."
  }
  assert {
    condition     = output.second_backend.role_arn == "arn:aws:iam::123456789012:role/nightingale-azure"
    error_message = "The role is named before it is made: it cannot be made before the identity is known."
  }
}

run "without_an_image_no_place_is_told" {
  command = plan

  assert {
    condition     = length(output.second_backend.place) == 0
    error_message = "Half a place is none."
  }
}

run "a_second_backend_without_a_subject_is_refused" {
  command = plan
  variables {
    azure = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale", subject = "" }
  }
  expect_failures = [var.azure]
}

run "whose_a_machines_token_is_tells_a_role_that_may_do_nothing" {
  command = plan
  variables {
    azure_machines = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale-machines" }
  }

  assert {
    condition     = aws_iam_openid_connect_provider.azure[0].url == "https://sts.windows.net/3f2504e0-4f89-11d3-9a0c-0305e82c3301/" && aws_iam_openid_connect_provider.azure[0].client_id_list == toset(["api://nightingale-machines"])
    error_message = "One tenant, and tokens made out to this platform alone."
  }
  assert {
    condition = (
      [for one in data.aws_iam_policy_document.azure_machines[0].statement[0].condition : [one.test, one.variable, one.values]]
      == [["StringEquals", "sts.windows.net/3f2504e0-4f89-11d3-9a0c-0305e82c3301/:aud", tolist(["api://nightingale-machines"])]]
    )
    error_message = "A token made out to anybody else opens nothing."
  }
  assert {
    condition     = [for one in data.aws_iam_policy_document.nothing[0].statement : [one.effect, one.actions, one.resources]] == [["Deny", toset(["*"]), toset(["*"])]]
    error_message = "The role may do nothing, whatever another's policy says."
  }
  assert {
    condition     = aws_iam_role.azure_machines[0].max_session_duration == 3600 && length(aws_iam_role.azure) == 0
    error_message = "A session is as short as IAM knows; and no second backend comes with it."
  }
}

run "machines_and_the_second_backend_share_an_issuer_and_no_audience" {
  command = plan
  variables {
    azure          = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale", subject = "7d444840-9dc0-11d1-b245-5ffdce74fad2" }
    azure_machines = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale-machines" }
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.azure) == 1 && aws_iam_openid_connect_provider.azure[0].client_id_list == toset(["api://nightingale", "api://nightingale-machines"])
    error_message = "IAM knows an issuer once, with the audiences of both."
  }
  assert {
    condition     = [for one in data.aws_iam_policy_document.azure_machines[0].statement[0].condition : tolist(one.values)] == [tolist(["api://nightingale-machines"])]
    error_message = "The second backend's tokens do not open the machines' role."
  }
}

run "a_machines_token_that_would_do_for_the_second_backend_is_refused" {
  command = plan
  variables {
    azure          = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale", subject = "7d444840-9dc0-11d1-b245-5ffdce74fad2" }
    azure_machines = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale" }
  }
  expect_failures = [var.azure_machines]
}

run "machines_of_another_tenant_than_the_second_backends_are_refused" {
  command = plan
  variables {
    azure          = { tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale", subject = "7d444840-9dc0-11d1-b245-5ffdce74fad2" }
    azure_machines = { tenant = "11111111-4f89-11d3-9a0c-0305e82c3301", audience = "api://nightingale-machines" }
  }
  expect_failures = [var.azure_machines]
}

run "without_instances_in_azure_no_role_is_there_for_them" {
  command = plan

  assert {
    condition     = length(aws_iam_role.azure_machines) == 0 && length(aws_iam_openid_connect_provider.azure) == 0 && output.azure_machine_role == null
    error_message = "What nobody uses is not made."
  }
}

run "a_further_region_is_reached_by_gateway_and_watchers_and_told_to_functions" {
  command = plan
  variables {
    instance_image = "ami-0123456789abcdef0"
    regions = {
      eu-west-1 = {
        cidr             = "10.65.0.0/16"
        vpc_id           = "vpc-0123456789abcdef1"
        peering_id       = "pcx-0123456789abcdef1"
        zone             = "eu-west-1a"
        subnet_id        = "subnet-0123456789abcdef1"
        instances_cidr   = "10.65.0.0/17"
        doors_cidr       = "10.65.128.0/20"
        homes_key        = "arn:aws:kms:eu-west-1:123456789012:key/homes"
        quarantine_group = "sg-0123456789abcdef1"
        ec2_door         = { name = "vpce-1.ec2.eu-west-1.vpce.amazonaws.com", zone = "Z38GZ743OKFT7T" }
        instance_image   = "ami-0123456789abcdef1"
        dataset_buckets  = ["open-dub/v1"]
      }
      eu-west-3 = {
        cidr             = "10.66.0.0/16"
        vpc_id           = "vpc-0123456789abcdef3"
        peering_id       = "pcx-0123456789abcdef3"
        zone             = "eu-west-3a"
        subnet_id        = "subnet-0123456789abcdef3"
        instances_cidr   = "10.66.0.0/17"
        doors_cidr       = "10.66.128.0/20"
        homes_key        = "arn:aws:kms:eu-west-3:123456789012:key/homes"
        quarantine_group = "sg-0123456789abcdef3"
        ec2_door         = { name = "vpce-3.ec2.eu-west-3.vpce.amazonaws.com", zone = "Z1DWHTMFP0WECP" }
      }
    }
  }

  assert {
    condition     = toset(aws_route_table.inside.route[*].cidr_block) == toset(["10.65.0.0/16", "10.66.0.0/16"]) && length(aws_route_table.instances.route) == 0
    error_message = "The gateway and the watchers have a way there; instances here have none."
  }
  assert {
    condition = alltrue([
      for way, cidr in {
        gateway_to_instances_in_eu-west-1  = "10.65.0.0/17"
        watchers_to_instances_in_eu-west-1 = "10.65.0.0/17"
        watchers_to_ec2_in_eu-west-1       = "10.65.128.0/20"
      } : aws_vpc_security_group_egress_rule.way[way].cidr_ipv4 == cidr
    ])
    error_message = "Ways lead to where instances and the endpoint of EC2 are."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.door_from_regions["eu-west-1"].cidr_ipv4 == "10.65.0.0/17"
    error_message = "Instances there reach the private API."
  }
  assert {
    condition     = keys(local.told_of_regions) == ["eu-west-1"]
    error_message = "Without an image nothing is launched in a region, so nothing is said of it."
  }
  assert {
    condition     = aws_route53_record.ec2["eu-west-1"].name == "ec2.eu-west-1.amazonaws.com"
    error_message = "Watchers ask EC2 there by its ordinary name."
  }
  assert {
    condition     = strcontains(module.datasets.policy, "open-dub/v1") && module.passing.passing == null
    error_message = "Each region's endpoint lets through its own datasets; the role reads those of all."
  }
  assert {
    condition     = jsondecode(local.facts.regions) == ["eu-central-1", "eu-west-1", "eu-west-3"]
    error_message = "What builds and functions may do holds in these regions."
  }
}

run "the_platforms_own_region_is_no_further_one" {
  command = plan
  variables {
    regions = {
      eu-central-1 = {
        cidr             = "10.65.0.0/16"
        vpc_id           = "vpc-0123456789abcdef1"
        peering_id       = "pcx-0123456789abcdef1"
        zone             = "eu-central-1a"
        subnet_id        = "subnet-0123456789abcdef1"
        instances_cidr   = "10.65.0.0/17"
        doors_cidr       = "10.65.128.0/20"
        homes_key        = "arn:aws:kms:eu-central-1:123456789012:key/homes"
        quarantine_group = "sg-0123456789abcdef1"
        ec2_door         = { name = "vpce-1.ec2.eu-central-1.vpce.amazonaws.com", zone = "Z273ZU8SZ5RJPC" }
      }
    }
  }
  expect_failures = [var.regions]
}

run "a_bucket_of_a_region_that_is_a_pattern_is_refused" {
  command = plan
  variables {
    regions = {
      eu-west-1 = {
        cidr             = "10.65.0.0/16"
        vpc_id           = "vpc-0123456789abcdef1"
        peering_id       = "pcx-0123456789abcdef1"
        zone             = "eu-west-1a"
        subnet_id        = "subnet-0123456789abcdef1"
        instances_cidr   = "10.65.0.0/17"
        doors_cidr       = "10.65.128.0/20"
        homes_key        = "arn:aws:kms:eu-west-1:123456789012:key/homes"
        quarantine_group = "sg-0123456789abcdef1"
        ec2_door         = { name = "vpce-1.ec2.eu-west-1.vpce.amazonaws.com", zone = "Z273ZU8SZ5RJPC" }
        dataset_buckets  = ["open-dub/*"]
      }
    }
  }
  expect_failures = [var.regions]
}

run "instances_in_azure_are_reached_by_the_vpn_and_azure_by_the_watchers_alone" {
  command = plan
  variables {
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
    condition     = toset([for one in local.routes_to_azure : one.cidr_block]) == toset(["10.80.16.0/20", "0.0.0.0/0"]) && length(aws_nat_gateway.azure) == 1
    error_message = "The watchers' network has a way to the instances, and one to Azure's management."
  }
  assert {
    condition     = [for name, way in local.ways_to_azure : name if way.cidr == "0.0.0.0/0"] == ["watchers_to_azure"] && local.ways_to_azure["watchers_to_azure"].port == 443
    error_message = "Watchers alone speak with everyone, on one port."
  }
  assert {
    condition     = length(aws_route_table.instances.route) == 0
    error_message = "Instances in AWS have no way out still."
  }
  assert {
    condition     = toset(keys(local.place_in_azure)) == toset(["NIGHTINGALE_AZURE_NETWORK", "NIGHTINGALE_AZURE_IMAGE", "NIGHTINGALE_AZURE_TENANT", "NIGHTINGALE_AZURE_CLIENT_ID", "NIGHTINGALE_AZURE_MACHINE_ROLE"])
    error_message = "Functions are told of the place whole."
  }
  assert {
    condition     = local.place_in_azure["NIGHTINGALE_AZURE_CLIENT_ID"] == "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a11" && local.builds_in_azure["NIGHTINGALE_AZURE_CLIENT_ID"] == "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a12"
    error_message = "Functions and builds are two applications."
  }
  assert {
    condition     = toset(keys(aws_iam_role_policy.azure_place)) == toset(["api", "watcher", "jobs", "scan", "builds"])
    error_message = "Whoever asks Azure may have it signed who that is."
  }
}

run "without_a_place_in_azure_nothing_of_it_is_there" {
  command = plan

  assert {
    condition     = length(aws_nat_gateway.azure) + length(aws_eip.azure) + length(aws_iam_role_policy.azure_place) + length(local.ways_to_azure) + length(local.routes_to_azure) + length(local.place_in_azure) + length(local.builds_in_azure) == 0
    error_message = "No way, no policy, no setting."
  }
}

run "a_place_in_azure_is_told_whole_or_refused" {
  command = plan
  variables {
    azure_place = {
      location           = "germanywestcentral"
      resource_group     = "nightingale-instances"
      subnet_id          = "subnet-1"
      cidr               = "10.0.0.0/8"
      client_id          = "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a11"
      builds_client_id   = "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a11"
      vpn_gateway_id     = "vgw-0123456789abcdef0"
      transit_gateway_id = "tgw-0123456789abcdef0"
    }
  }
  expect_failures = [var.azure_place]
}
