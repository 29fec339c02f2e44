mock_provider "azurerm" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  amount          = 500
  emails          = ["team@example.com"]
}

run "all_clusters" {
  command = plan

  assert {
    condition     = one(one(azurerm_consumption_budget_subscription.this.filter).tag).name == "spark-sidecar" && length(setsubtract(["vllm", "job", "pool"], one(one(azurerm_consumption_budget_subscription.this.filter).tag).values)) == 0
    error_message = "the tag that the modules set"
  }

  assert {
    condition     = endswith(one(azurerm_consumption_budget_subscription.this.time_period).start_date, "-01T00:00:00Z")
    error_message = "Azure refuses another day"
  }
}

run "one_team" {
  command = plan

  variables {
    tag = { name = "team", values = ["inference"] }
  }

  assert {
    condition     = one(one(azurerm_consumption_budget_subscription.this.filter).tag).values == tolist(["inference"])
    error_message = "the team's tag"
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

run "nobody_is_told" {
  command = plan

  variables {
    emails = []
  }

  expect_failures = [var.emails]
}

run "a_tag_without_values" {
  command = plan

  variables {
    tag = { name = "team", values = [] }
  }

  expect_failures = [var.tag]
}

run "a_path_for_an_id" {
  command = plan

  variables {
    subscription_id = "/subscriptions/x"
  }

  expect_failures = [var.subscription_id]
}
