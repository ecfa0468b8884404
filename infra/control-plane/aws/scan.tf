# The scan of the audit log: a function of its own, because it carries DuckDB. S3 tells a queue of what is new, and the
# function empties it each minute. What it remembers between two runs lies in the builds' bucket, under scan/.

locals {
  scan_name = "${var.name}-scan"
}

resource "aws_sqs_queue" "scan" {
  # checkov:skip=CKV_AWS_27: it is encrypted, by SQS's own keys: a key of ours would have to be opened to S3
  # checkov:skip=CKV2_AWS_73: same
  name                       = local.scan_name
  sqs_managed_sse_enabled    = true
  message_retention_seconds  = 1209600 # 14 days: so long a scan may fail and nothing is left out
  visibility_timeout_seconds = 360     # longer than the function may run
  receive_wait_time_seconds  = 1
}

data "aws_iam_policy_document" "scan_queue" {
  statement {
    sid       = "OfTheAuditBucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.scan.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [module.audit.bucket_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sqs_queue_policy" "scan" {
  queue_url = aws_sqs_queue.scan.id
  policy    = data.aws_iam_policy_document.scan_queue.json
}

resource "aws_s3_bucket_notification" "audit" {
  bucket = module.audit.bucket

  queue {
    id            = "scan"
    queue_arn     = aws_sqs_queue.scan.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "audit/"
    filter_suffix = ".jsonl"
  }

  depends_on = [aws_sqs_queue_policy.scan]
}

resource "aws_cloudwatch_log_group" "scan" {
  name              = "/aws/lambda/${local.scan_name}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_lambda_function" "scan" {
  # checkov:skip=CKV_AWS_116: a run that fails leaves its notices in the queue, which is what the next one works from
  # checkov:skip=CKV_AWS_117: it reaches AWS's services and the channels of notices, and no machine
  # checkov:skip=CKV_AWS_173: names and addresses, no secrets
  # checkov:skip=CKV_AWS_272: the package is named by its content, and who may replace it may replace the signer
  # checkov:skip=CKV_AWS_50: nothing is traced: a run is one log line
  function_name    = local.scan_name
  description      = "Scans what is new in the audit log, each minute"
  role             = local.role_arns.scan
  runtime          = "python3.11"
  architectures    = ["x86_64"]
  handler          = "scan_function.scan"
  s3_bucket        = aws_s3_bucket.kept["builds"].id
  s3_key           = aws_s3_object.package["scan"].key
  source_code_hash = filebase64sha256(var.scan_package)
  memory_size      = 1769 # one processor
  timeout          = 300

  # One at a time: the second would only find that the first has done it.
  reserved_concurrent_executions = 1

  ephemeral_storage {
    size = 2048 # MB
  }

  environment {
    variables = merge(local.environment, {
      NIGHTINGALE_SCAN_QUEUE     = aws_sqs_queue.scan.id
      NIGHTINGALE_NOTIFY_SECRETS = "${var.name}/notify/"
    })
  }

  depends_on = [aws_cloudwatch_log_group.scan]
}

# What the scan reads besides: logs of clouds, wherever they are delivered to. Reading, of these folders, and no more.
module "watched_logs" {
  source    = "./datasets"
  folders   = var.watched_logs
  partition = local.partition
}

resource "aws_iam_role_policy" "watched_logs" {
  count  = length(var.watched_logs) == 0 ? 0 : 1
  name   = "logs-of-clouds"
  role   = aws_iam_role.function["scan"].name
  policy = module.watched_logs.policy
}

resource "aws_iam_role_policy" "watched_log_keys" {
  count = length(var.watched_log_keys) == 0 ? 0 : 1
  name  = "keys-of-logs-of-clouds"
  role  = aws_iam_role.function["scan"].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Open"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = sort(tolist(var.watched_log_keys))
    }]
  })
}

resource "aws_cloudwatch_event_rule" "scan" {
  name                = local.scan_name
  description         = "Each minute"
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "scan" {
  rule = aws_cloudwatch_event_rule.scan.name
  arn  = aws_lambda_function.scan.arn
}

resource "aws_lambda_permission" "scan" {
  statement_id  = "each-minute"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.scan.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.scan.arn
}

# Notices that nobody takes: the scan does not run, or not well. A theft is not seen meanwhile.
resource "aws_cloudwatch_metric_alarm" "scan" {
  alarm_name          = "${var.name}-scan-is-behind"
  alarm_description   = "What is new in the audit log waits for over 5 minutes: nothing is found meanwhile. The log of ${local.scan_name} says why."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.scan.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 300
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
