mock_provider "databricks" {}

variables {
  instance_profile_arn = "arn:aws:iam::123456789012:instance-profile/models"
}

run "the_workspace_checks_that_it_may_pass_the_role" {
  command = plan

  assert {
    condition     = databricks_instance_profile.this.skip_validation == false && output.instance_profile_arn == var.instance_profile_arn
    error_message = "an unchecked profile fails only when a cluster starts"
  }
}

run "a_role_is_no_profile" {
  command = plan

  variables {
    instance_profile_arn = "arn:aws:iam::123456789012:role/models"
  }

  expect_failures = [var.instance_profile_arn]
}

run "a_name_is_no_role" {
  command = plan

  variables {
    iam_role_arn = "models"
  }

  expect_failures = [var.iam_role_arn]
}
