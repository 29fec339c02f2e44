mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  billing_account = "01AB23-45CD67-89EF01"
  project         = "project-1"
  label           = { name = "team", value = "inference" }
  amount          = 500
}

run "one_label_of_one_project" {
  command = plan

  assert {
    condition     = one(google_billing_budget.this.budget_filter).projects == toset(["projects/123456789012"]) && one(google_billing_budget.this.budget_filter).labels == tomap({ team = "inference" })
    error_message = "the clusters with the label"
  }

  assert {
    condition     = toset([for each in google_billing_budget.this.threshold_rules : each.threshold_percent]) == toset([0.5, 0.9, 1])
    error_message = "shares, not percents"
  }

  assert {
    condition     = length(google_billing_budget.this.all_updates_rule) == 0
    error_message = "Google's own recipients"
  }
}

run "channels_of_ones_own" {
  command = plan

  variables {
    channels = ["projects/project-1/notificationChannels/1"]
  }

  assert {
    condition     = length(one(google_billing_budget.this.all_updates_rule).monitoring_notification_channels) == 1
    error_message = "that channel is told"
  }
}

run "no_money" {
  command = plan

  variables {
    amount = 0
  }

  expect_failures = [var.amount]
}

run "a_name_with_spaces" {
  command = plan

  variables {
    name = "my budget"
  }

  expect_failures = [var.name]
}

run "a_share_for_a_percent" {
  command = plan

  variables {
    thresholds = [0.5]
  }

  expect_failures = [var.thresholds]
}

run "not_a_billing_account" {
  command = plan

  variables {
    billing_account = "my account"
  }

  expect_failures = [var.billing_account]
}

run "a_display_name" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "a_label_in_capitals" {
  command = plan

  variables {
    label = { name = "Team", value = "a" }
  }

  expect_failures = [var.label]
}

run "an_email_for_a_channel" {
  command = plan

  variables {
    channels = ["team@example.com"]
  }

  expect_failures = [var.channels]
}
