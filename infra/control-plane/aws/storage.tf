# The table and two buckets. Keys and indexes are those of nightingale.adapters.dynamodb_table: a test compares.

locals {
  table_keys = ["pk", "sk", "index1_pk", "index1_sk", "index2_pk", "index2_sk"]
}

resource "aws_dynamodb_table" "platform" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = !var.is_ending

  dynamic "attribute" {
    for_each = local.table_keys
    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = ["index1", "index2"]
    content {
      name            = global_secondary_index.value
      hash_key        = "${global_secondary_index.value}_pk"
      range_key       = "${global_secondary_index.value}_sk"
      projection_type = "ALL"
    }
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }
}

locals {
  # Old versions are what one goes back to; after so many days they are gone.
  kept = { state = 90, builds = 30 }
}

resource "aws_s3_bucket" "kept" {
  # checkov:skip=CKV2_AWS_62: nobody waits for objects: builds' ends come from CodeBuild's events
  # checkov:skip=CKV_AWS_18: who reads is in CloudTrail's data events, which are the account's choice and cost
  # checkov:skip=CKV_AWS_144: one region by design: datasets must not leave it, and what is said about them neither
  for_each      = local.kept
  bucket        = "${var.name}-${each.key}-${local.suffix}"
  force_destroy = var.is_ending
}

resource "aws_s3_bucket_versioning" "kept" {
  for_each = local.kept
  bucket   = aws_s3_bucket.kept[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "kept" {
  for_each = local.kept
  bucket   = aws_s3_bucket.kept[each.key].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "kept" {
  for_each                = local.kept
  bucket                  = aws_s3_bucket.kept[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "kept" {
  for_each = local.kept
  bucket   = aws_s3_bucket.kept[each.key].id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = each.value
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.kept]
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.kept
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.kept[each.key].arn, "${aws_s3_bucket.kept[each.key].arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "kept" {
  for_each = local.kept
  bucket   = aws_s3_bucket.kept[each.key].id
  policy   = data.aws_iam_policy_document.tls_only[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.kept]
}

# What builds, the gateway and the scan run. Named by content: a build that runs keeps what it began with.
resource "aws_s3_object" "package" {
  for_each    = { platform = var.platform_package, gateway = var.gateway_package, scan = var.scan_package }
  bucket      = aws_s3_bucket.kept["builds"].id
  key         = "source/${each.key}-${filesha256(each.value)}.zip"
  source      = each.value
  source_hash = filesha256(each.value)

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.kept, aws_s3_bucket_versioning.kept]
}

module "audit" {
  source    = "./audit"
  name      = var.name
  suffix    = local.suffix
  account   = local.account
  partition = local.partition
  days      = var.audit_days
  lock      = var.audit_lock
}
