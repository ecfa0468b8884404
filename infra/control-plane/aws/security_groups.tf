# Who may speak with whom. An instance's own group is made with it (infra/instance/aws) and lets in the gateway and the
# watchers.

locals {
  jupyter_port = 8888
  gateway_port = 8022
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The SSH gateway's load balancer"
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_ingress_rule" "people" {
  for_each          = var.gateway_cidrs
  security_group_id = aws_security_group.balancer.id
  description       = "People"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_gateway" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "The gateway"
  referenced_security_group_id = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_security_group" "gateway" {
  name        = "${var.name}-gateway"
  description = "The SSH gateway"
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_ingress_rule" "gateway_from_balancer" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "The load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_security_group" "watchers" {
  # checkov:skip=CKV2_AWS_5: attached to the functions in api/, which is JSON and so not seen
  name        = "${var.name}-watchers"
  description = "The functions that probe instances"
  vpc_id      = aws_vpc.platform.id
}

locals {
  # Who, and what for; `to` is a group, a network or a service's list of addresses.
  ways = {
    gateway_to_instances_0 = { from = aws_security_group.gateway.id, port = local.jupyter_port, cidr = aws_subnet.instances[0].cidr_block }
    gateway_to_instances_1 = { from = aws_security_group.gateway.id, port = local.jupyter_port, cidr = aws_subnet.instances[1].cidr_block }
    gateway_to_api         = { from = aws_security_group.gateway.id, port = 443, group = aws_security_group.door.id }
    gateway_to_services    = { from = aws_security_group.gateway.id, port = 443, group = aws_security_group.services.id }
    gateway_to_s3          = { from = aws_security_group.gateway.id, port = 443, list = aws_vpc_endpoint.s3_inside.prefix_list_id }

    watchers_to_instances_0 = { from = aws_security_group.watchers.id, port = local.jupyter_port, cidr = aws_subnet.instances[0].cidr_block }
    watchers_to_instances_1 = { from = aws_security_group.watchers.id, port = local.jupyter_port, cidr = aws_subnet.instances[1].cidr_block }
    watchers_to_services    = { from = aws_security_group.watchers.id, port = 443, group = aws_security_group.services.id }
    watchers_to_s3          = { from = aws_security_group.watchers.id, port = 443, list = aws_vpc_endpoint.s3_inside.prefix_list_id }
    watchers_to_table       = { from = aws_security_group.watchers.id, port = 443, list = aws_vpc_endpoint.table.prefix_list_id }
  }
}

resource "aws_vpc_security_group_egress_rule" "way" {
  for_each                     = merge(local.ways, local.ways_to_regions, local.ways_to_azure, local.packages_ways)
  security_group_id            = each.value.from
  description                  = replace(each.key, "_", " ")
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = lookup(each.value, "cidr", null)
  referenced_security_group_id = lookup(each.value, "group", null)
  prefix_list_id               = lookup(each.value, "list", null)
}

resource "aws_security_group" "services" {
  name        = "${var.name}-services"
  description = "Endpoints of AWS services"
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_ingress_rule" "services" {
  for_each                     = { gateway = aws_security_group.gateway.id, watchers = aws_security_group.watchers.id }
  security_group_id            = aws_security_group.services.id
  description                  = "The ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_security_group" "door" {
  name        = "${var.name}-api"
  description = "The private API's endpoint"
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_ingress_rule" "door_from_gateway" {
  security_group_id            = aws_security_group.door.id
  description                  = "The gateway"
  referenced_security_group_id = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_ingress_rule" "door_from_instances" {
  count             = 2
  security_group_id = aws_security_group.door.id
  description       = "Instances"
  cidr_ipv4         = aws_subnet.instances[count.index].cidr_block
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# What an instance in quarantine gets instead of its own group: nothing in, nothing out.
resource "aws_security_group" "quarantine" {
  # checkov:skip=CKV2_AWS_5: attached to machines by quarantine alone
  name        = "${var.name}-quarantine"
  description = "Instances in quarantine: nothing passes"
  vpc_id      = aws_vpc.platform.id
}
