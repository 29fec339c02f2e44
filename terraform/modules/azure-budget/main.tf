locals {
  # The tag that every cluster and job of the modules carries: its values are the frameworks, job and pool.
  frameworks = keys(jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms["databricks-azure"].frameworks)
  tag        = var.tag != null ? var.tag : { name = "spark-sidecar", values = setunion(local.frameworks, ["job", "pool"]) }
}

# Of the subscription, not of a resource group: Databricks' charges are in the workspace's group, and virtual machines in
# another, which Databricks manages.
resource "azurerm_consumption_budget_subscription" "this" {
  name            = var.name
  subscription_id = "/subscriptions/${var.subscription_id}"
  amount          = var.amount
  time_grain      = "Monthly"

  time_period {
    start_date = formatdate("YYYY-MM-01'T'00:00:00Z", plantimestamp()) # Azure wants the first day of a month
  }

  filter {
    tag {
      name   = local.tag.name
      values = sort(local.tag.values)
    }
  }

  dynamic "notification" {
    for_each = var.thresholds
    content {
      operator       = "GreaterThan"
      threshold      = notification.value
      contact_emails = sort(var.emails)
    }
  }

  lifecycle {
    ignore_changes = [time_period] # that of the first apply
  }
}
