# Who is told, and of what. Mails carry names, numbers and links.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.data.id
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each  = var.alarm_emails
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

locals {
  # A function that fails once in a while tries again by itself; throttling means that the account's limit is reached.
  function_alarms = merge([
    for function, full_name in module.api.functions : {
      "${function}-errors"    = { function = full_name, metric = "Errors", threshold = function == "api_handler" ? 5 : 3 }
      "${function}-throttles" = { function = full_name, metric = "Throttles", threshold = 1 }
    }
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each            = local.function_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.metric} of ${each.value.function} within 5 minutes: its log says why."
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.function }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# The age of the last watch, as CloudWatch can see it: a watcher begins every minute and ends within it, so three minutes
# without one that ended well are an age of three minutes.
resource "aws_cloudwatch_metric_alarm" "watch" {
  alarm_name          = "${var.name}-watch-is-old"
  alarm_description   = "No watcher ended well for 3 minutes: crashes are not seen, and metering goes by the last good probe."
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "ended_well"
    expression  = "FILL(begun0, 0) + FILL(begun1, 0) - FILL(failed0, 0) - FILL(failed1, 0)"
    label       = "Watches that ended well"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      for pair in setproduct(range(length(local.identities.watcher)), [["begun", "Invocations"], ["failed", "Errors"]]) :
      "${pair[1][0]}${pair[0]}" => { metric = pair[1][1], function = local.identities.watcher[pair[0]] }
    }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/Lambda"
        metric_name = metric_query.value.metric
        dimensions  = { FunctionName = module.api.functions[metric_query.value.function] }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

locals {
  other_alarms = {
    "api-faults" = {
      words      = "The API answered with a fault of its own"
      namespace  = "AWS/ApiGateway", metric = "5XXError", statistic = "Sum", threshold = 5
      dimensions = { ApiName = module.api.api_name }
    }
    "table-throttles" = {
      words      = "DynamoDB throttles reads of the table: a hot key, or the account's limit"
      namespace  = "AWS/DynamoDB", metric = "ReadThrottleEvents", statistic = "Sum", threshold = 1
      dimensions = { TableName = aws_dynamodb_table.platform.name }
    }
    "table-write-throttles" = {
      words      = "DynamoDB throttles writes to the table: a hot key, or the account's limit"
      namespace  = "AWS/DynamoDB", metric = "WriteThrottleEvents", statistic = "Sum", threshold = 1
      dimensions = { TableName = aws_dynamodb_table.platform.name }
    }
    "builds-fail" = {
      words      = "Builds fail: look at the instances' reasons"
      namespace  = "AWS/CodeBuild", metric = "FailedBuilds", statistic = "Sum", threshold = 5
      dimensions = { ProjectName = local.builds_name }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "other" {
  for_each            = local.other_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.words
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "gateway" {
  alarm_name          = "${var.name}-gateway-is-down"
  alarm_description   = "No SSH gateway answers the load balancer: nobody reaches an instance."
  namespace           = "AWS/NetworkELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = aws_lb.gateway.arn_suffix, TargetGroup = aws_lb_target_group.gateway.arn_suffix }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = [["ACTUAL", 80], ["ACTUAL", 100], ["FORECASTED", 100]]
    content {
      notification_type         = notification.value[0]
      threshold                 = notification.value[1]
      threshold_type            = "PERCENTAGE"
      comparison_operator       = "GREATER_THAN"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
}
