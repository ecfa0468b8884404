# Three kinds of subnets in two zones, and no NAT: nothing inside has a way out but the endpoints below. (A fourth, with one,
# is packages.tf's, where the settings ask for it; where instances stand in Azure too, watchers have one: azure_place.tf.)
#
#   public      the network load balancer of the SSH gateway, nothing else
#   inside      the watchers and the gateway
#   instances   people's machines: they reach the private API, DNS names of this region's AWS, and what `dataset_buckets`
#               names, read-only
#
# Endpoints cost by the hour and zone, so there is one of each, in the first zone; S3 and DynamoDB cost nothing. There is
# none for STS (the instances' proof is signed where they are and redeemed by the API, which runs outside), none for KMS
# (S3, DynamoDB and SSM ask it themselves) and none for Lambda's own logs (Lambda ships them).

resource "aws_vpc" "platform" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# Left empty, so that nothing is reachable by having been forgotten.
resource "aws_default_security_group" "nobody" {
  vpc_id = aws_vpc.platform.id
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.platform.id
  availability_zone = var.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 4, count.index)
  tags              = { Name = "${var.name}-public-${count.index}" }
}

resource "aws_subnet" "inside" {
  count             = 2
  vpc_id            = aws_vpc.platform.id
  availability_zone = var.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 4, 2 + count.index)
  tags              = { Name = "${var.name}-inside-${count.index}" }
}

resource "aws_subnet" "instances" {
  count             = 2
  vpc_id            = aws_vpc.platform.id
  availability_zone = var.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 2, 1 + count.index)
  tags              = { Name = "${var.name}-instances-${count.index}" }
}

resource "aws_internet_gateway" "platform" {
  vpc_id = aws_vpc.platform.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.platform.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.platform.id
  }
}

# A route written as an attribute names all that there could be.
locals {
  no_route = {
    cidr_block                 = null
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
    vpc_peering_connection_id  = null
  }
}

resource "aws_route_table" "inside" {
  vpc_id = aws_vpc.platform.id
  route  = concat(local.routes_to_regions, local.routes_to_azure) # said whole: one that somebody adds by hand is taken out again
}

resource "aws_route_table" "instances" {
  vpc_id = aws_vpc.platform.id
  route  = [] # one that somebody adds by hand is taken out again
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "inside" {
  count          = 2
  subnet_id      = aws_subnet.inside[count.index].id
  route_table_id = aws_route_table.inside.id
}

resource "aws_route_table_association" "instances" {
  count          = 2
  subnet_id      = aws_subnet.instances[count.index].id
  route_table_id = aws_route_table.instances.id
}

# What was refused is kept: a machine that tries to reach out shows here.
resource "aws_cloudwatch_log_group" "flows" {
  name              = "/aws/vpc/${var.name}-refused"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_flow_log" "refused" {
  vpc_id          = aws_vpc.platform.id
  traffic_type    = "REJECT"
  log_destination = aws_cloudwatch_log_group.flows.arn
  iam_role_arn    = aws_iam_role.flows.arn
}

module "names" {
  source = "./names"
  name   = var.name
  region = var.region
  vpc_id = aws_vpc.platform.id
  # An index's names are answered whole, so nothing can be said in them; a proxy asks for them itself.
  also   = concat([for one in keys(var.regions) : "ec2.${one}.amazonaws.com"], local.has_nat ? sort(tolist(var.packages.hosts)) : [])
  others = local.azure_names
}
