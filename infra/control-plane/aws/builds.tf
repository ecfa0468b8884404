# Where Terraform runs: one CodeBuild project, as an identity of its own, outside the network (it asks AWS alone).

locals {
  builds_name = "${var.name}-builds"
}

resource "aws_cloudwatch_log_group" "builds" {
  name              = "/aws/codebuild/${local.builds_name}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_iam_role" "builds" {
  name                 = local.builds_name
  description          = "CodeBuild: makes, changes and ends instances"
  assume_role_policy   = data.aws_iam_policy_document.assumed_by["codebuild"].json
  permissions_boundary = aws_iam_policy.builds_boundary.arn
}

# Whatever is added to the role later: it stays within this.
resource "aws_iam_policy" "builds_boundary" {
  name        = "${local.builds_name}-boundary"
  description = "The most that builds can ever do"
  policy      = templatefile("${path.module}/policies/builds-boundary.json", local.facts)
}

resource "aws_iam_role_policy" "builds" {
  name   = "what-it-needs"
  role   = aws_iam_role.builds.id
  policy = templatefile("${path.module}/policies/builds.json", local.facts)
}

resource "aws_codebuild_project" "builds" {
  name                   = local.builds_name
  description            = "Runs Terraform for one instance"
  service_role           = aws_iam_role.builds.arn
  encryption_key         = aws_kms_key.data.arn
  build_timeout          = 60
  queued_timeout         = 480
  concurrent_build_limit = var.builds_at_once

  source {
    type      = "S3"
    location  = "${aws_s3_bucket.kept["builds"].id}/${aws_s3_object.package["platform"].key}"
    buildspec = "infra/buildspec.yml"
  }

  artifacts {
    type = "NO_ARTIFACTS"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = "BUILD_GENERAL1_SMALL"
    image        = "aws/codebuild/standard:7.0"

    dynamic "environment_variable" {
      for_each = merge(local.builds_in_azure, {
        NIGHTINGALE_BUILDS_BUCKET = aws_s3_bucket.kept["builds"].id
        NIGHTINGALE_STATE_BUCKET  = aws_s3_bucket.kept["state"].id
        NIGHTINGALE_AWS_REGION    = var.region
      })
      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.builds.name
    }
  }
}

# What an instance is to AWS: a name that it can prove (sts:GetCallerIdentity needs no permission and cannot be denied),
# and whoever may read the open datasets in S3 that the platform is told of. Every instance is the same one here: which
# of them a person gets is decided by the platform and by what their machine mounts, and no process of theirs gets near
# the credentials (infra/packer/files/nightingale.nft).
resource "aws_iam_role" "instance" {
  name                 = "${var.name}-instance"
  description          = "Instances: proves which machine it is, and reads dataset_buckets"
  assume_role_policy   = data.aws_iam_policy_document.assumed_by["ec2"].json
  permissions_boundary = aws_iam_policy.instance_boundary.arn
}

resource "aws_iam_policy" "instance_boundary" {
  name        = "${var.name}-instance-boundary"
  description = "At most reading dataset_buckets, whatever is attached"
  policy      = module.datasets.boundary
}

# One role in every region, so it reads what is told of each; each region's endpoint lets through its own alone.
module "datasets" {
  source    = "./datasets"
  folders   = local.every_bucket
  partition = local.partition
}

module "passing" {
  source    = "./datasets"
  folders   = var.dataset_buckets
  partition = local.partition
}

resource "aws_iam_role_policy" "instance" {
  count  = length(local.every_bucket) == 0 ? 0 : 1
  name   = "what-it-needs"
  role   = aws_iam_role.instance.id
  policy = module.datasets.policy
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

locals {
  # The `network` variable of infra/instance/aws, by zone, and with it `kms_key`, which the core takes out of it.
  networks = {
    for subnet in aws_subnet.instances : subnet.availability_zone => {
      region                    = var.region
      vpc_id                    = aws_vpc.platform.id
      subnet_id                 = subnet.id
      availability_zone         = subnet.availability_zone
      gateway_security_group_id = aws_security_group.gateway.id
      api_security_group_id     = aws_security_group.watchers.id
      api_cidrs                 = [aws_subnet.inside[0].cidr_block] # where the private API's endpoint is
      api_url                   = module.api.private_url
      instance_profile          = aws_iam_instance_profile.instance.name
      max_retries               = 3
      platform                  = var.name
      kms_key                   = aws_kms_key.homes.arn
      packages                  = local.packages_told
    }
  }
}
