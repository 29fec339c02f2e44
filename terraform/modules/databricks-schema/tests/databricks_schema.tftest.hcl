mock_provider "databricks" {
  mock_data "databricks_catalogs" {
    defaults = { ids = ["my_workspace", "samples", "system"] }
  }
}

run "the_only_catalog_of_a_workspace_is_found" {
  command = plan

  assert {
    condition     = output.catalog == "my_workspace" && output.schema == "default"
    error_message = "The platform's own catalogs were counted."
  }

  assert {
    condition     = length(databricks_schema.this) == 0
    error_message = "A schema is made only when asked."
  }
}

run "a_schema_is_made_when_asked" {
  command = plan

  variables {
    catalog = "my_workspace"
    name    = "inference"
    create  = true
  }

  assert {
    condition     = databricks_schema.this[0].catalog_name == "my_workspace" && databricks_schema.this[0].name == "inference"
    error_message = "The schema is not the one asked for."
  }
}

run "a_catalog_that_does_not_exist_is_refused" {
  command = plan

  variables {
    catalog = "main"
  }

  expect_failures = [data.databricks_catalogs.this]
}

run "several_catalogs_without_a_name_are_refused" {
  command = plan

  override_data {
    target = data.databricks_catalogs.this
    values = { ids = ["main", "my_workspace", "system"] }
  }

  expect_failures = [data.databricks_catalogs.this]
}

run "a_catalog_with_a_schema_in_its_name_is_refused" {
  command = plan

  variables {
    catalog = "main.default"
  }

  expect_failures = [var.catalog]
}

run "a_schema_with_a_catalog_in_its_name_is_refused" {
  command = plan

  variables {
    name = "main.default"
  }

  expect_failures = [var.name]
}

run "the_default_schema_is_not_made_again" {
  command = plan

  variables {
    name   = "default"
    create = true
  }

  expect_failures = [var.name]
}
