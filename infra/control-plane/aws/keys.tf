# Three keys of our own: for the platform's data, for people's homes, and (module.audit) for the audit log. Each is
# turned once a year by AWS; what an old turn encrypted stays readable.

data "aws_iam_policy_document" "data_key" {
  # checkov:skip=CKV_AWS_109: a key's own policy: `*` is this key, and without the account's administrators nobody could manage it
  # checkov:skip=CKV_AWS_111: same
  # checkov:skip=CKV_AWS_356: same
  # The account's administrators manage the key by their own policies; without this nobody could.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  # CloudWatch Logs encrypts for the log groups of this platform.
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
      values = [
        for kind in ["lambda", "codebuild", "apigateway", "vpc"] :
        "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/${kind}/${var.name}*"
      ]
    }
  }

  # Alarms are published to an encrypted topic.
  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_kms_key" "data" {
  description             = "${var.name}: table, state, builds, logs, the gateway's secrets"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.data_key.json
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}-data"
  target_key_id = aws_kms_key.data.key_id
}

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

  # The gateway's machine is started by the account's auto scaling role, which must open its disk.
  statement {
    sid       = "GatewayDisk"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [aws_iam_service_linked_role.scaling.arn]
    }
  }
  statement {
    sid       = "GatewayDiskGrant"
    actions   = ["kms:CreateGrant"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [aws_iam_service_linked_role.scaling.arn]
    }
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_kms_key" "homes" {
  description             = "${var.name}: disks of instances, homes, and the gateway's"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.homes_key.json
}

resource "aws_kms_alias" "homes" {
  name          = "alias/${var.name}-homes"
  target_key_id = aws_kms_key.homes.key_id
}

# Of our own, and not the account's: whether that one is there already cannot be known.
resource "aws_iam_service_linked_role" "scaling" {
  aws_service_name = "autoscaling.amazonaws.com"
  custom_suffix    = var.name
  description      = "Keeps one SSH gateway running"
}
