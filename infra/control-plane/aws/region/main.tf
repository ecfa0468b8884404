# A further region of a platform: a network for instances, and nothing else. All that decides, keeps or shows anything is
# in the platform's own region (home); the two networks are peered.
#
#   instances   people's machines: they reach home's private API, and what `dataset_buckets` names, read-only
#   doors       the endpoint by which home's watchers, who have no way out, ask EC2 of this region
#
# There is no internet gateway, no NAT and no public subnet: the one way out of here is the peering, and it leads to the
# subnets of home in which gateway, watchers and the API's endpoint are, not to home's instances.

locals {
  instances_cidr = cidrsubnet(var.cidr, 1, 0)
  doors_cidr     = cidrsubnet(var.cidr, 4, 8)
}

resource "aws_vpc" "region" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# Left empty, so that nothing is reachable by having been forgotten.
resource "aws_default_security_group" "nobody" {
  vpc_id = aws_vpc.region.id
}

resource "aws_subnet" "instances" {
  vpc_id            = aws_vpc.region.id
  availability_zone = var.zone
  cidr_block        = local.instances_cidr
  tags              = { Name = "${var.name}-instances" }
}

resource "aws_subnet" "doors" {
  vpc_id            = aws_vpc.region.id
  availability_zone = var.zone
  cidr_block        = local.doors_cidr
  tags              = { Name = "${var.name}-doors" }
}

# Asked for here, accepted by the platform's own module. Until then the routes lead nowhere.
resource "aws_vpc_peering_connection" "home" {
  vpc_id      = aws_vpc.region.id
  peer_vpc_id = var.home.vpc_id
  peer_region = var.home.region
  tags        = { Name = "${var.name}-home" }
}

resource "aws_route_table" "inside" {
  vpc_id = aws_vpc.region.id

  # Said whole: one that somebody adds by hand is taken out again.
  route = [
    for cidr in var.home.cidrs : {
      cidr_block                 = cidr
      vpc_peering_connection_id  = aws_vpc_peering_connection.home.id
      carrier_gateway_id         = null
      core_network_arn           = null
      destination_prefix_list_id = null
      egress_only_gateway_id     = null
      gateway_id                 = null
      ipv6_cidr_block            = null
      local_gateway_id           = null
      nat_gateway_id             = null
      network_interface_id       = null
      transit_gateway_id         = null
      vpc_endpoint_id            = null
    }
  ]
}

resource "aws_route_table_association" "inside" {
  for_each       = { instances = aws_subnet.instances.id, doors = aws_subnet.doors.id }
  subnet_id      = each.value
  route_table_id = aws_route_table.inside.id
}

# What was refused is kept: a machine that tries to reach out shows here.
resource "aws_cloudwatch_log_group" "flows" {
  name              = "/aws/vpc/${var.name}-refused"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.homes.arn
}

resource "aws_flow_log" "refused" {
  vpc_id          = aws_vpc.region.id
  traffic_type    = "REJECT"
  log_destination = aws_cloudwatch_log_group.flows.arn
  iam_role_arn    = var.home.flows_role
}

module "names" {
  source = "../names"
  name   = var.name
  region = var.region
  vpc_id = aws_vpc.region.id
  also   = var.home.api_hosts
}

# --- doors ------------------------------------------------------------------------------------------------------------

resource "aws_security_group" "doors" {
  name        = "${var.name}-doors"
  description = "The endpoint of EC2"
  vpc_id      = aws_vpc.region.id
}

# By address: a security group is known in its own region only.
resource "aws_vpc_security_group_ingress_rule" "doors_from_home" {
  for_each          = toset(var.home.cidrs)
  security_group_id = aws_security_group.doors.id
  description       = "Watchers"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

data "aws_iam_policy_document" "of_this_account" {
  # checkov:skip=CKV_AWS_1: an endpoint's policy gives nothing: it narrows what roles allow to callers of this account
  # checkov:skip=CKV_AWS_49: same
  statement {
    sid       = "OfThisAccount"
    actions   = ["*"]
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }
  }
}

# Its name is answered in home's network (a private zone there), and nobody here asks for it.
resource "aws_vpc_endpoint" "ec2" {
  vpc_id              = aws_vpc.region.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.ec2"
  private_dns_enabled = false
  subnet_ids          = [aws_subnet.doors.id]
  security_group_ids  = [aws_security_group.doors.id]
  policy              = data.aws_iam_policy_document.of_this_account.json
}

module "datasets" {
  source    = "../datasets"
  folders   = var.dataset_buckets
  partition = local.partition
}

resource "aws_vpc_endpoint" "s3" {
  count           = length(var.dataset_buckets) == 0 ? 0 : 1
  vpc_id          = aws_vpc.region.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.inside.id]
  policy          = module.datasets.passing
}

# What an instance in quarantine gets instead of its own group: nothing in, nothing out.
resource "aws_security_group" "quarantine" {
  # checkov:skip=CKV2_AWS_5: attached to machines by quarantine alone
  name        = "${var.name}-quarantine"
  description = "Instances in quarantine: nothing passes"
  vpc_id      = aws_vpc.region.id
}

# --- the key ----------------------------------------------------------------------------------------------------------

# A key does not leave its region, so disks here have one of their own; the log of what was refused shares it.
data "aws_iam_policy_document" "homes_key" {
  # checkov:skip=CKV_AWS_109: a key's own policy: `*` is this key, and without the account's administrators nobody could manage it
  # checkov:skip=CKV_AWS_111: same
  # checkov:skip=CKV_AWS_356: same
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/vpc/${var.name}-refused"]
    }
  }
}

resource "aws_kms_key" "homes" {
  description             = "${var.name}: disks of instances, homes, and the log of refused connections"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.homes_key.json
}

resource "aws_kms_alias" "homes" {
  name          = "alias/${var.name}-homes"
  target_key_id = aws_kms_key.homes.key_id
}
