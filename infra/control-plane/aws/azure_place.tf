# The place azure: what functions and builds are told of it, as whom they come to Azure, and the ways there.
#
#   functions, builds ── AWS STS signs who they are ──▶ Entra (federated credentials) ──▶ Azure Resource Manager
#   watchers, gateway ── the VPN that somebody made ──▶ port 8888 of instances in Azure
#   instances there   ── the same VPN ──▶ the private API's endpoint
#
# Watchers have no way out of this network, and Azure's management has no door in it. So where there is such a place,
# and only there, they get a NAT gateway: port 443, and of names those below and AWS's own. Nobody else has that way:
# the gateway's group does not let it out, and instances have routes of their own.

locals {
  is_in_azure   = var.azure_place != null
  azure_tenant  = try(var.azure_machines.tenant, "")
  azure_names   = local.is_in_azure ? ["management.azure.com", "login.microsoftonline.com"] : []
  azure_address = local.is_in_azure ? [local.api_url_in_regions] : []

  # Nothing is launched without an image.
  place_in_azure = try(var.azure_place.image, null) == null ? {} : {
    NIGHTINGALE_AZURE_NETWORK = jsonencode(merge(
      {
        location       = var.azure_place.location
        resource_group = var.azure_place.resource_group
        subnet_id      = var.azure_place.subnet_id
        gateway_cidr   = cidrsubnet(var.cidr, 3, 1) # the two subnets called inside, and nothing else
        api_cidrs      = [aws_subnet.inside[0].cidr_block]
        api_url        = local.api_url_in_regions
        audience       = var.azure_machines.audience
      },
      { for name, value in { kms_key = var.azure_place.kms_key } : name => value if value != null },
    ))
    NIGHTINGALE_AZURE_IMAGE        = var.azure_place.image
    NIGHTINGALE_AZURE_TENANT       = local.azure_tenant
    NIGHTINGALE_AZURE_CLIENT_ID    = var.azure_place.client_id
    NIGHTINGALE_AZURE_MACHINE_ROLE = aws_iam_role.azure_machines[0].arn
  }

  # Builds are another application than functions: what makes machines and networks is not what looks at them.
  builds_in_azure = local.is_in_azure ? {
    NIGHTINGALE_AZURE_TENANT    = local.azure_tenant
    NIGHTINGALE_AZURE_CLIENT_ID = var.azure_place.builds_client_id
  } : {}

  routes_to_azure = local.is_in_azure ? [
    merge(local.no_route, { cidr_block = var.azure_place.cidr, gateway_id = var.azure_place.vpn_gateway_id, transit_gateway_id = var.azure_place.transit_gateway_id }),
    merge(local.no_route, { cidr_block = "0.0.0.0/0", nat_gateway_id = aws_nat_gateway.azure[0].id }),
  ] : []

  ways_to_azure = local.is_in_azure ? {
    gateway_to_instances_in_azure  = { from = aws_security_group.gateway.id, port = local.jupyter_port, cidr = var.azure_place.cidr }
    watchers_to_instances_in_azure = { from = aws_security_group.watchers.id, port = local.jupyter_port, cidr = var.azure_place.cidr }
    watchers_to_azure              = { from = aws_security_group.watchers.id, port = 443, cidr = "0.0.0.0/0" }
  } : {}
}

resource "aws_eip" "azure" {
  # checkov:skip=CKV2_AWS_19: it is the NAT gateway's
  count  = local.is_in_azure ? 1 : 0
  domain = "vpc"
  tags   = { Name = "${var.name}-azure" }
}

resource "aws_nat_gateway" "azure" {
  count         = local.is_in_azure ? 1 : 0
  allocation_id = aws_eip.azure[0].id
  subnet_id     = aws_subnet.public[0].id
  tags          = { Name = "${var.name}-azure" }
  depends_on    = [aws_internet_gateway.platform]
}

resource "aws_vpc_security_group_ingress_rule" "door_from_azure" {
  count             = local.is_in_azure ? 1 : 0
  security_group_id = aws_security_group.door.id
  description       = "Instances in Azure"
  cidr_ipv4         = var.azure_place.cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Whose names AWS signs, for Entra alone.
resource "aws_iam_role_policy" "azure_place" {
  for_each = local.is_in_azure ? merge(
    { for who in keys(local.identities) : who => aws_iam_role.function[who].id },
    { builds = aws_iam_role.builds.id },
  ) : {}
  name   = "who-it-is-to-azure"
  role   = each.value
  policy = templatefile("${path.module}/policies/azure.json", local.facts)
}
