# The filter of a budget takes a project's number: with its id, every plan would show a change.
data "google_project" "this" {
  project_id = var.project
}

resource "google_billing_budget" "this" {
  billing_account = var.billing_account
  display_name    = var.name

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
    labels   = { (var.label.name) = var.label.value }
  }

  amount {
    specified_amount {
      units = tostring(var.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = var.thresholds
    content {
      threshold_percent = threshold_rules.value / 100 # Google calls a share a percent
    }
  }

  # Without channels, Google tells the administrators and users of the billing account.
  dynamic "all_updates_rule" {
    for_each = length(var.channels) == 0 ? [] : [var.channels]
    content {
      monitoring_notification_channels = all_updates_rule.value
    }
  }
}
