# The API and the jobs. api/ is made by `python backend-lambda/package.py --module-only infra/control-plane/aws/api`.

locals {
  # Which function is who. What each may do stands in policies/, with the reason of each statement.
  identities = {
    api     = ["api_handler"]
    watcher = ["watch_first", "watch_second"]
    jobs    = ["close_hours", "end_orphans", "build_ended"]
    scan    = ["scan"] # in scan.tf: a package of its own
  }
  identity_of = merge([for who, functions in local.identities : { for one in functions : one => who }]...)

  # What the place `aws` is: without an image nothing can be launched, so nothing is said of it.
  place = var.instance_image == null ? {} : merge(local.places_in_regions, {
    NIGHTINGALE_AWS_NETWORK       = jsonencode(local.networks[var.zones[0]])
    NIGHTINGALE_AWS_IMAGE         = var.instance_image
    NIGHTINGALE_AWS_ACCOUNT       = local.account
    NIGHTINGALE_AWS_INSTANCE_ROLE = aws_iam_role.instance.name
    NIGHTINGALE_QUARANTINE_GROUP  = aws_security_group.quarantine.id
  })

  environment = merge(local.place, local.place_in_azure, {
    NIGHTINGALE_TABLE             = aws_dynamodb_table.platform.name
    NIGHTINGALE_AUDIT_BUCKET      = module.audit.bucket
    NIGHTINGALE_BUILDS_BUCKET     = aws_s3_bucket.kept["builds"].id
    NIGHTINGALE_CODEBUILD_PROJECT = local.builds_name
    NIGHTINGALE_ADDRESSES         = join(",", sort(concat([module.api.public_url, module.api.private_url], distinct(concat(local.addresses_in_regions, local.azure_address)), tolist(var.addresses))))
    NIGHTINGALE_GATEWAY_HOST      = aws_lb.gateway.dns_name
    NIGHTINGALE_GATEWAY_PORT      = "22"
    NIGHTINGALE_GATEWAY_HOST_KEY  = var.gateway_host_key
  })
}

module "api" {
  source              = "./api"
  name                = var.name
  package             = var.functions_package
  access_log_role     = local.role_arns.access_log
  roles               = { for function, who in local.identity_of : function => local.role_arns[who] if who != "scan" }
  environment         = local.environment
  endpoint_id         = aws_vpc_endpoint.api.id
  codebuild_project   = local.builds_name
  kms_key_arn         = aws_kms_key.data.arn
  log_days            = var.log_days
  requests_per_second = var.requests_per_second
  burst               = var.burst
  inside = {
    functions          = local.identities.watcher
    subnet_ids         = aws_subnet.inside[*].id
    security_group_ids = [aws_security_group.watchers.id]
  }
}

data "aws_iam_policy_document" "assumed_by" {
  for_each = {
    lambda     = "lambda.amazonaws.com"
    codebuild  = "codebuild.amazonaws.com"
    ec2        = "ec2.amazonaws.com"
    flows      = "vpc-flow-logs.amazonaws.com"
    apigateway = "apigateway.amazonaws.com"
  }
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each           = local.identities
  name               = "${var.name}-${each.key}"
  description        = "Functions: ${join(", ", each.value)}"
  assume_role_policy = data.aws_iam_policy_document.assumed_by["lambda"].json
}

resource "aws_iam_role_policy" "function" {
  for_each = local.identities
  name     = "what-it-needs"
  role     = aws_iam_role.function[each.key].id
  policy   = templatefile("${path.module}/policies/${each.key}.json", local.facts)
}

locals {
  # By their policies, so that nothing takes a role before it may do anything: a function inside the network could not be
  # made. A dependency of the whole module would leave its routes unknown in every plan.
  role_arns = {
    for who, name in merge(
      { for who, policy in aws_iam_role_policy.function : who => policy.role },
      { access_log = aws_iam_role_policy_attachment.access_log.role },
    ) : who => "arn:${local.partition}:iam::${local.account}:role/${name}"
  }
}

# API Gateway has one setting for the whole account and region: as whom it writes access logs.
resource "aws_iam_role" "access_log" {
  name               = "${var.name}-access-log"
  assume_role_policy = data.aws_iam_policy_document.assumed_by["apigateway"].json
}

resource "aws_iam_role_policy_attachment" "access_log" {
  role       = aws_iam_role.access_log.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_iam_role" "flows" {
  name               = "${var.name}-flows"
  assume_role_policy = data.aws_iam_policy_document.assumed_by["flows"].json
}

resource "aws_iam_role_policy" "flows" {
  name   = "what-it-needs"
  role   = aws_iam_role.flows.id
  policy = templatefile("${path.module}/policies/flows.json", local.facts)
}
