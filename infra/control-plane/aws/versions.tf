terraform {
  required_version = ">= 1.11, < 2.0.0" # S3 keeps the state's lock itself since 1.11

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Which bucket is said by `./run deploy aws`, which makes it first.
  backend "s3" {
    key          = "control-plane/terraform.tfstate"
    use_lockfile = true
    encrypt      = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { platform = var.name }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  suffix    = "${local.account}-${var.region}" # bucket names are one space for all of AWS

  # What the templates in policies/ fill in; each takes what it names.
  facts = {
    name          = var.name
    region        = var.region
    account       = local.account
    partition     = local.partition
    table         = aws_dynamodb_table.platform.arn
    state_bucket  = aws_s3_bucket.kept["state"].arn
    builds_bucket = aws_s3_bucket.kept["builds"].arn
    audit_bucket  = module.audit.bucket_arn
    data_key      = aws_kms_key.data.arn
    audit_key     = module.audit.key_arn
    instance_role = aws_iam_role.instance.arn
    # Of every region that instances live in: lists, the platform's own region first.
    regions             = jsonencode(local.every_region)
    ec2_services        = jsonencode([for one in local.every_region : "ec2.${one}.amazonaws.com"])
    homes_keys          = jsonencode(concat([aws_kms_key.homes.arn], [for one in local.further : one.homes_key]))
    vpcs                = jsonencode(concat([aws_vpc.platform.arn], [for one in local.further : "${one.arn}:vpc/${one.vpc_id}"]))
    instance_subnets    = jsonencode(concat(aws_subnet.instances[*].arn, [for one in local.further : "${one.arn}:subnet/${one.subnet_id}"]))
    quarantine_groups   = jsonencode(concat([aws_security_group.quarantine.arn], [for one in local.further : "${one.arn}:security-group/${one.quarantine_group}"]))
    refused_logs        = jsonencode([for one in local.every_region : "arn:${local.partition}:logs:${one}:${local.account}:log-group:/aws/vpc/${var.name}-refused:*"])
    parameters          = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/${var.name}/gateway"
    packages_parameters = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/${var.name}/packages"
  }
}
