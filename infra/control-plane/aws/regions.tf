# Further regions in which instances live. What is there is region/'s, a root module of its own for each; here is what the
# platform's own region has for them: the other half of the peering, ways, names, and what functions are told.

locals {
  every_region = concat([var.region], sort(keys(var.regions)))
  every_bucket = setunion(var.dataset_buckets, flatten([for one in var.regions : tolist(one.dataset_buckets)]))

  # Sorted by name, as keys are.
  further = [for name in sort(keys(var.regions)) : merge(var.regions[name], { arn = "arn:${local.partition}:ec2:${name}:${local.account}" })]

  # The endpoint's own name for the private API, which is answered everywhere with its address in this network: the plain
  # one is answered in this network alone.
  api_url_in_regions = replace(module.api.private_url, ".execute-api.", "-${aws_vpc_endpoint.api.id}.execute-api.")
  # A resolver's firewall looks at every name on the way to an answer.
  api_hosts_in_regions = [split("/", local.api_url_in_regions)[2], aws_vpc_endpoint.api.dns_entry[0].dns_name]
  addresses_in_regions = length(var.regions) == 0 ? [] : [local.api_url_in_regions]

  routes_to_regions = [
    for name in sort(keys(var.regions)) : merge(local.no_route, {
      cidr_block                = var.regions[name].cidr
      vpc_peering_connection_id = aws_vpc_peering_connection_accepter.region[name].id
    })
  ]

  ways_to_regions = merge([
    for name, one in var.regions : {
      "gateway_to_instances_in_${name}"  = { from = aws_security_group.gateway.id, port = local.jupyter_port, cidr = one.instances_cidr }
      "watchers_to_instances_in_${name}" = { from = aws_security_group.watchers.id, port = local.jupyter_port, cidr = one.instances_cidr }
      "watchers_to_ec2_in_${name}"       = { from = aws_security_group.watchers.id, port = 443, cidr = one.doors_cidr }
    }
  ]...)

  # What differs from the place in this region (nightingale.hosting.settings puts the two together). Without an image
  # nothing is launched there, so nothing is said of it. A function takes 4 KB of settings: this is short on purpose.
  told_of_regions = {
    for name, one in var.regions : name => {
      vpc_id            = one.vpc_id
      subnet_id         = one.subnet_id
      availability_zone = one.zone
      gateway_cidrs     = aws_subnet.inside[*].cidr_block
      api_url           = local.api_url_in_regions
      kms_key           = one.homes_key
      image             = one.instance_image
      quarantine_group  = one.quarantine_group
    } if one.instance_image != null
  }
  places_in_regions = length(local.told_of_regions) == 0 ? {} : { NIGHTINGALE_AWS_REGIONS = jsonencode(local.told_of_regions) }
}

resource "aws_vpc_peering_connection_accepter" "region" {
  for_each                  = var.regions
  vpc_peering_connection_id = each.value.peering_id
  auto_accept               = true
  tags                      = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "door_from_regions" {
  for_each          = var.regions
  security_group_id = aws_security_group.door.id
  description       = "Instances in ${each.key}"
  cidr_ipv4         = each.value.instances_cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Watchers have no way to EC2 of another region but by its endpoint there, and ask for it by its ordinary name. Functions
# outside the network get the public answer to the same name.
resource "aws_route53_zone" "ec2" {
  for_each = var.regions
  name     = "ec2.${each.key}.amazonaws.com"
  comment  = "${var.name}: EC2 of ${each.key}, by its endpoint there"

  vpc {
    vpc_id = aws_vpc.platform.id
  }
}

resource "aws_route53_record" "ec2" {
  # checkov:skip=CKV2_AWS_23: the endpoint that it names is made by region/, whose state is another one
  for_each = var.regions
  zone_id  = aws_route53_zone.ec2[each.key].zone_id
  name     = "ec2.${each.key}.amazonaws.com"
  type     = "A"

  alias {
    name                   = each.value.ec2_door.name
    zone_id                = each.value.ec2_door.zone
    evaluate_target_health = false
  }
}
