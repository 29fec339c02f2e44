mock_provider "databricks" {}

variables {
  amount = 500
  emails = ["team@example.com"]
}

run "all_clusters" {
  command = plan

  assert {
    condition     = one(one(databricks_budget.this.filter).tags).key == "spark-sidecar" && length(setsubtract(["vllm", "job", "pool"], one(one(one(databricks_budget.this.filter).tags).value).values)) == 0
    error_message = "the tag that the modules set"
  }

  assert {
    condition     = toset([for each in databricks_budget.this.alert_configurations : each.quantity_threshold]) == toset(["500"])
    error_message = "one alert, which every account may have"
  }

  assert {
    condition     = length(one(databricks_budget.this.filter).workspace_id) == 0
    error_message = "all workspaces"
  }
}

run "one_team_in_one_workspace" {
  command = plan

  variables {
    tag        = { name = "team", values = ["inference"] }
    workspaces = [1]
    thresholds = [50, 90]
  }

  assert {
    condition     = toset([for each in databricks_budget.this.alert_configurations : each.quantity_threshold]) == toset(["250", "450"])
    error_message = "before the money is spent"
  }

  assert {
    condition     = one(one(one(databricks_budget.this.filter).tags).value).values == tolist(["inference"]) && one(one(databricks_budget.this.filter).workspace_id).values == tolist([1])
    error_message = "the team's tag, in that workspace"
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

run "an_address_for_a_workspace" {
  command = plan

  variables {
    workspaces = [-1]
  }

  expect_failures = [var.workspaces]
}
