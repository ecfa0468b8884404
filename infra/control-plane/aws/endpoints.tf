# The doors out of the network. Each endpoint's policy says what passes, whoever asks: credentials that somebody brought
# along open nothing else.

data "aws_iam_policy_document" "s3_inside" {
  statement {
    sid       = "Ours"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
    resources = flatten([for arn in [aws_s3_bucket.kept["builds"].arn, module.audit.bucket_arn] : [arn, "${arn}/*"]])
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }

  # The gateway's machine takes its Python from Amazon Linux's own repository, which is a bucket.
  statement {
    sid       = "AmazonLinux"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::al2023-repos-${var.region}-de612dc2/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "s3_inside" {
  vpc_id          = aws_vpc.platform.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.inside.id]
  policy          = data.aws_iam_policy_document.s3_inside.json
}

resource "aws_vpc_endpoint" "s3_instances" {
  count           = length(var.dataset_buckets) == 0 ? 0 : 1
  vpc_id          = aws_vpc.platform.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.instances.id]
  policy          = module.passing.passing
}

data "aws_iam_policy_document" "table_inside" {
  statement {
    sid       = "Table"
    actions   = ["dynamodb:*"]
    resources = [aws_dynamodb_table.platform.arn, "${aws_dynamodb_table.platform.arn}/index/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "table" {
  vpc_id          = aws_vpc.platform.id
  service_name    = "com.amazonaws.${var.region}.dynamodb"
  route_table_ids = [aws_route_table.inside.id]
  policy          = data.aws_iam_policy_document.table_inside.json
}

locals {
  # Who asks each, so that a service that nobody asks any more is taken out: watchers but for ssm, the gateway's.
  services = toset(["codebuild", "ec2", "logs", "ssm"])
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

resource "aws_vpc_endpoint" "service" {
  for_each            = local.services
  vpc_id              = aws_vpc.platform.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  private_dns_enabled = true
  subnet_ids          = [aws_subnet.inside[0].id]
  security_group_ids  = [aws_security_group.services.id]
  policy              = data.aws_iam_policy_document.of_this_account.json
}

# Callers of the private API carry the platform's own tokens and no AWS credentials, so the door looks at what is called:
# without this a private API in somebody's own account would be a way out.
data "aws_iam_policy_document" "our_apis" {
  statement {
    sid       = "OurApis"
    actions   = ["execute-api:Invoke"]
    resources = ["arn:${local.partition}:execute-api:${var.region}:${local.account}:*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "api" {
  vpc_id              = aws_vpc.platform.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.execute-api"
  private_dns_enabled = true
  subnet_ids          = [aws_subnet.inside[0].id]
  security_group_ids  = [aws_security_group.door.id]
  policy              = data.aws_iam_policy_document.our_apis.json
}
