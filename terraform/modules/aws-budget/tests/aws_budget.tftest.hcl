mock_provider "aws" {}

variables {
  amount = 500
  emails = ["team@example.com"]
}

run "all_clusters" {
  command = plan

  assert {
    condition     = length(setsubtract(["user:spark-sidecar$vllm", "user:spark-sidecar$job", "user:spark-sidecar$pool"], one(aws_budgets_budget.this.cost_filter).values)) == 0
    error_message = "the tag that the modules set"
  }

  assert {
    condition     = toset([for each in aws_budgets_budget.this.notification : each.threshold]) == toset([50, 90, 100])
    error_message = "before the money is spent"
  }
}

run "one_team" {
  command = plan

  variables {
    tag = { name = "team", values = ["inference"] }
  }

  assert {
    condition     = one(aws_budgets_budget.this.cost_filter).values == tolist(["user:team$inference"])
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
