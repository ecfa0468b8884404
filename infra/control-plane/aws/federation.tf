# Who is who in Azure: STS verifies the tokens of one tenant, made out to one of these audiences.

locals {
  second_backend = "${var.name}-azure"

  tenants   = toset([for one in [var.azure, var.azure_machines] : one.tenant if one != null])
  audiences = toset([for one in [var.azure, var.azure_machines] : one.audience if one != null])
  issuer    = length(local.tenants) == 0 ? "" : "sts.windows.net/${one(local.tenants)}/"
}

resource "aws_iam_openid_connect_provider" "azure" {
  count          = length(local.tenants) == 0 ? 0 : 1
  url            = "https://${local.issuer}"
  client_id_list = local.audiences
}

# --- the second backend -----------------------------------------------------------------------------------------------

# In Azure, it works on the same table: its managed identity opens a role here, for an hour at a time, with a token and
# no key. What it may do is what the functions with the most rights here may do: it runs API and jobs.

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

# --- machines ---------------------------------------------------------------------------------------------------------

# An instance in Azure shows the API a token of its identity, and the API asks STS whose it is. STS answers by opening a
# role: this one, which may do nothing, whoever opens it and whatever another's policy grants to the whole account. So
# every identity of the tenant may open it; which one is which machine, the API decides (ADR 0021).
data "aws_iam_policy_document" "azure_machines" {
  count = var.azure_machines == null ? 0 : 1
  statement {
    sid     = "AskedWhoseTokenItIs"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.azure[0].arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = [var.azure_machines.audience]
    }
  }
}

data "aws_iam_policy_document" "nothing" {
  count = var.azure_machines == null ? 0 : 1
  statement {
    sid       = "Nothing"
    effect    = "Deny"
    actions   = ["*"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "azure_machines" {
  count                = var.azure_machines == null ? 0 : 1
  name                 = "${var.name}-azure-machines"
  description          = "Opened to learn whose token it is; may do nothing"
  assume_role_policy   = data.aws_iam_policy_document.azure_machines[0].json
  max_session_duration = 3600 # IAM knows nothing shorter; the API asks for 15 minutes
}

resource "aws_iam_role_policy" "azure_machines" {
  count  = var.azure_machines == null ? 0 : 1
  name   = "nothing"
  role   = aws_iam_role.azure_machines[0].id
  policy = data.aws_iam_policy_document.nothing[0].json
}
