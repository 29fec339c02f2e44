mock_provider "databricks" {}

variables {
  scope   = "models"
  readers = ["team"]
}

run "readers_may_read_and_nothing_is_stored" {
  command = plan

  assert {
    condition     = databricks_secret_acl.readers["team"].permission == "READ" && output.reference == "{{secrets/models/KEY}}"
    error_message = "a scope, and who may read it"
  }
}

run "a_path_is_no_scope" {
  command = plan

  variables {
    scope = "a/b"
  }

  expect_failures = [var.scope]
}
