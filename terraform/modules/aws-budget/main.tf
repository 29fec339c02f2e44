locals {
  # The tag that every cluster and job of the modules carries: its values are the frameworks, job and pool.
  frameworks = keys(jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms["databricks-aws"].frameworks)
  tag        = var.tag != null ? var.tag : { name = "spark-sidecar", values = setunion(local.frameworks, ["job", "pool"]) }
}

resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.amount)
  limit_unit   = "USD"

  cost_filter {
    name   = "TagKeyValue"
    values = sort([for each in local.tag.values : format("user:%s$%s", local.tag.name, each)]) # user: is the kind of tag
  }

  dynamic "notification" {
    for_each = var.thresholds
    content {
      notification_type          = "ACTUAL"
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
    }
  }
}
