locals {
  # The tag that every cluster and job of the modules carries: its values are the frameworks, job and pool.
  frameworks = keys(jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms["databricks-aws"].frameworks)
  tag        = var.tag != null ? var.tag : { name = "spark-sidecar", values = setunion(local.frameworks, ["job", "pool"]) }
}

resource "databricks_budget" "this" {
  display_name = var.name

  dynamic "alert_configurations" {
    for_each = toset([for each in var.thresholds : var.amount * each / 100])
    content {
      time_period        = "MONTH"
      trigger_type       = "CUMULATIVE_SPENDING_EXCEEDED"
      quantity_type      = "LIST_PRICE_DOLLARS_USD"
      quantity_threshold = tostring(alert_configurations.value)

      dynamic "action_configurations" {
        for_each = var.emails
        content {
          action_type = "EMAIL_NOTIFICATION"
          target      = action_configurations.value
        }
      }
    }
  }

  filter {
    dynamic "workspace_id" {
      for_each = length(var.workspaces) == 0 ? [] : [var.workspaces]
      content {
        operator = "IN"
        values   = workspace_id.value
      }
    }

    tags {
      key = local.tag.name
      value {
        operator = "IN"
        values   = sort(local.tag.values)
      }
    }
  }
}
