mock_provider "databricks" {
  mock_resource "databricks_volume" {
    defaults = { volume_path = "/Volumes/main/default/models" }
  }
}

variables {
  catalog = "main"
  schema  = "default"
  name    = "models"
  keep    = false
}

run "created" {
  command = apply

  assert {
    condition     = output.path == "/Volumes/main/default/models"
    error_message = "the path that clusters see"
  }
}

run "a_path_for_a_catalog" {
  command = plan

  variables {
    catalog = "main.default"
  }

  expect_failures = [var.catalog]
}

run "a_path_for_a_schema" {
  command = plan

  variables {
    schema = "main.default"
  }

  expect_failures = [var.schema]
}

run "a_path_for_a_name" {
  command = plan

  variables {
    name = "/Volumes/x"
  }

  expect_failures = [var.name]
}
