# The second backend, in Azure, works on the same table: its managed identity opens a role here, for an hour at a time,
# with a token and no key. What it may do is what the functions with the most rights here may do: it runs API and jobs.

locals {
  second_backend = "${var.name}-azure"

  issuer = var.azure == null ? "" : "sts.windows.net/${var.azure.tenant}/"
}

resource "aws_iam_openid_connect_provider" "azure" {
  count          = var.azure == null ? 0 : 1
  url            = "https://${local.issuer}"
  client_id_list = [var.azure.audience]
}

data "aws_iam_policy_document" "azure" {
  count = var.azure == null ? 0 : 1
  statement {
    sid     = "OneIdentity"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.azure[0].arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = [var.azure.audience]
    }
    # Without this every application of the tenant could open the role.
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = [var.azure.subject]
    }
  }
}

resource "aws_iam_role" "azure" {
  count                = var.azure == null ? 0 : 1
  name                 = local.second_backend
  description          = "The second backend, in Azure"
  assume_role_policy   = data.aws_iam_policy_document.azure[0].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "azure" {
  count  = var.azure == null ? 0 : 1
  name   = "what-it-needs"
  role   = aws_iam_role.azure[0].id
  policy = templatefile("${path.module}/policies/jobs.json", local.facts)
}
