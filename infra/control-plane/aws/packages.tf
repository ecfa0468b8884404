# The package index of instances, where the settings ask for one: a small machine of its own that asks an index on their
# behalf (docs/adr/0023). It stands apart from everything else: a subnet, a group, an identity and a token of its own, since
# it alone reads what strangers wrote. Without var.packages nothing of it is there, and machines say that there is none.

locals {
  packages_port = 3142
  packages      = var.packages == null ? [] : [var.packages]
  has_packages  = var.packages != null
  has_nat       = try(var.packages.egress == "nat", false)
  proxy         = try(regex("^http://([0-9.]+):([0-9]+)$", var.packages.egress), null)
  # Always the same address, which machines were told: the machine behind it may be another.
  packages_address = cidrhost(cidrsubnet(var.cidr, 4, 12), 10)

  packages_told = local.has_packages ? { address = "${local.packages_address}:${local.packages_port}", sha256 = var.packages_sha256 } : null
  packages_ways = {
    for name, way in {
      packages_to_api      = { port = 443, group = aws_security_group.door.id }
      packages_to_services = { port = 443, group = aws_security_group.services.id }
      packages_to_s3       = { port = 443, list = aws_vpc_endpoint.s3_inside.prefix_list_id }
      packages_to_indexes = {
        port = local.has_nat ? 443 : try(tonumber(local.proxy[1]), null)
        cidr = local.has_nat ? "0.0.0.0/0" : try("${local.proxy[0]}/32", null)
      }
    } : name => merge(way, { from = aws_security_group.packages[0].id }) if local.has_packages
  }
}

# --- its way out ------------------------------------------------------------------------------------------------------

resource "aws_subnet" "packages" {
  count             = length(local.packages)
  vpc_id            = aws_vpc.platform.id
  availability_zone = var.zones[0]
  cidr_block        = cidrsubnet(var.cidr, 4, 12)
  tags              = { Name = "${var.name}-packages" }
}

# To a proxy of the account's own the account makes the route, in this table.
resource "aws_route_table" "packages" {
  count  = length(local.packages)
  vpc_id = aws_vpc.platform.id
  tags   = { Name = "${var.name}-packages" }
}

resource "aws_route_table_association" "packages" {
  count          = length(local.packages)
  subnet_id      = aws_subnet.packages[0].id
  route_table_id = aws_route_table.packages[0].id
}

resource "aws_vpc_endpoint_route_table_association" "packages_to_s3" {
  count           = length(local.packages)
  route_table_id  = aws_route_table.packages[0].id
  vpc_endpoint_id = aws_vpc_endpoint.s3_inside.id
}

resource "aws_eip" "packages" {
  # checkov:skip=CKV2_AWS_19: of the NAT gateway below; the check looks for machines only
  count  = local.has_nat ? 1 : 0
  domain = "vpc"
  tags   = { Name = "${var.name}-packages" }
}

resource "aws_nat_gateway" "packages" {
  count         = local.has_nat ? 1 : 0
  allocation_id = aws_eip.packages[0].id
  subnet_id     = aws_subnet.public[0].id
  tags          = { Name = "${var.name}-packages" }
  depends_on    = [aws_internet_gateway.platform]
}

resource "aws_route" "packages" {
  count                  = local.has_nat ? 1 : 0
  route_table_id         = aws_route_table.packages[0].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.packages[0].id
}

# --- who may speak with it --------------------------------------------------------------------------------------------

resource "aws_security_group" "packages" {
  count       = length(local.packages)
  name        = "${var.name}-packages"
  description = "The package index of instances"
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_ingress_rule" "packages_from_instances" {
  count             = 2 * length(local.packages)
  security_group_id = aws_security_group.packages[0].id
  description       = "Instances"
  cidr_ipv4         = aws_subnet.instances[count.index].cidr_block
  ip_protocol       = "tcp"
  from_port         = local.packages_port
  to_port           = local.packages_port
}

resource "aws_vpc_security_group_ingress_rule" "from_packages" {
  for_each                     = local.has_packages ? { door = aws_security_group.door.id, services = aws_security_group.services.id } : {}
  security_group_id            = each.value
  description                  = "The package index"
  referenced_security_group_id = aws_security_group.packages[0].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# --- the machine ------------------------------------------------------------------------------------------------------

resource "aws_iam_role" "packages" {
  count              = length(local.packages)
  name               = "${var.name}-packages"
  description        = "The package index: its own program, token and key pair"
  assume_role_policy = data.aws_iam_policy_document.assumed_by["ec2"].json
}

resource "aws_iam_role_policy" "packages" {
  count  = length(local.packages)
  name   = "what-it-needs"
  role   = aws_iam_role.packages[0].id
  policy = templatefile("${path.module}/policies/packages.json", local.facts)
}

resource "aws_iam_instance_profile" "packages" {
  count = length(local.packages)
  name  = "${var.name}-packages"
  role  = aws_iam_role.packages[0].name
}

resource "aws_s3_object" "packages" {
  count       = length(local.packages)
  bucket      = aws_s3_bucket.kept["builds"].id
  key         = "source/packages-${filesha256(var.packages_package)}.zip"
  source      = var.packages_package
  source_hash = filesha256(var.packages_package)

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.kept, aws_s3_bucket_versioning.kept]
}

resource "aws_launch_template" "packages" {
  count                  = length(local.packages)
  name                   = "${var.name}-packages"
  image_id               = data.aws_ssm_parameter.gateway_image.insecure_value
  instance_type          = var.gateway_machine_type
  ebs_optimized          = true
  update_default_version = true

  user_data = base64encode(templatefile("${path.module}/packages.sh", {
    region     = var.region
    package    = "s3://${aws_s3_bucket.kept["builds"].id}/${aws_s3_object.packages[0].key}"
    parameters = "/${var.name}/packages"
    api_url    = module.api.private_url
    port       = local.packages_port
    index      = var.packages.index
    proxy      = local.has_nat ? "" : var.packages.egress
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.packages[0].arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      encrypted   = true
      kms_key_id  = aws_kms_key.homes.arn
      volume_size = 20 # 8 GiB of files, and what is on its way
      volume_type = "gp3"
    }
  }
}

# EC2 recovers it by itself on other hardware. What it keeps are copies: it is replaced whenever the template changes, and
# that is with each newer program, and each newer Amazon Linux.
resource "aws_instance" "packages" {
  # checkov:skip=CKV_AWS_126: detailed monitoring: what was served and refused is in the audit log
  # checkov:skip=CKV_AWS_8: its disk is in the launch template, encrypted
  # checkov:skip=CKV_AWS_79: its metadata service is in the launch template, with tokens only
  # checkov:skip=CKV_AWS_135: in the launch template
  # checkov:skip=CKV2_AWS_41: its role is in the launch template
  count                       = length(local.packages)
  subnet_id                   = aws_subnet.packages[0].id
  private_ip                  = local.packages_address
  vpc_security_group_ids      = [aws_security_group.packages[0].id]
  associate_public_ip_address = false
  tags                        = { Name = "${var.name}-packages" }

  launch_template {
    id      = aws_launch_template.packages[0].id
    version = aws_launch_template.packages[0].latest_version
  }

  lifecycle {
    replace_triggered_by = [aws_launch_template.packages[count.index].latest_version]
  }

  depends_on = [aws_route.packages, aws_vpc_endpoint_route_table_association.packages_to_s3, aws_iam_role_policy.packages]
}
