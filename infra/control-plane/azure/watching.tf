# Logs, measurements, alarms and the budget. The host writes addresses, durations and statuses, and what our code logs:
# names, ids and reason codes. No body of a request or an answer is written, and no address holds a token.

resource "azurerm_log_analytics_workspace" "platform" {
  name                         = var.name
  resource_group_name          = azurerm_resource_group.platform.name
  location                     = azurerm_resource_group.platform.location
  tags                         = azurerm_resource_group.platform.tags
  sku                          = "PerGB2018"
  retention_in_days            = var.log_days
  local_authentication_enabled = false
  daily_quota_gb               = 1 # a loop that logs shall not be a bill
}

resource "azurerm_application_insights" "api" {
  name                         = "${var.name}-api"
  resource_group_name          = azurerm_resource_group.platform.name
  location                     = azurerm_resource_group.platform.location
  tags                         = azurerm_resource_group.platform.tags
  workspace_id                 = azurerm_log_analytics_workspace.platform.id
  application_type             = "web"
  local_authentication_enabled = false # its connection string opens nothing; the identity writes
  ip_masking_enabled           = true
}

resource "azurerm_monitor_action_group" "people" {
  name                = var.name
  resource_group_name = azurerm_resource_group.platform.name
  short_name          = "nightingale"
  tags                = azurerm_resource_group.platform.tags

  dynamic "email_receiver" {
    for_each = var.alarm_emails
    content {
      name          = email_receiver.value
      email_address = email_receiver.value
    }
  }
}

# A job that cannot do its work raises, and so does a request that the code did not foresee.
resource "azurerm_monitor_metric_alert" "failed" {
  name                = "${var.name}-failed"
  resource_group_name = azurerm_resource_group.platform.name
  scopes              = [azurerm_application_insights.api.id]
  description         = "A function failed"
  severity            = 1
  frequency           = "PT1M"
  window_size         = "PT5M"
  tags                = azurerm_resource_group.platform.tags

  criteria {
    metric_namespace = "microsoft.insights/components"
    metric_name      = "exceptions/count"
    aggregation      = "Count"
    operator         = "GreaterThan"
    threshold        = 0
  }

  action {
    action_group_id = azurerm_monitor_action_group.people.id
  }
}

resource "azurerm_consumption_budget_resource_group" "month" {
  name              = var.name
  resource_group_id = azurerm_resource_group.platform.id
  amount            = var.monthly_budget
  time_grain        = "Monthly"

  time_period {
    start_date = var.budget_from
  }

  dynamic "notification" {
    for_each = toset([80, 100])
    content {
      operator       = "GreaterThan"
      threshold      = notification.value
      contact_emails = var.alarm_emails
    }
  }
}
