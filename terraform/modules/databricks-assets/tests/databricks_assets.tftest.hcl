mock_provider "databricks" {
  mock_data "databricks_current_config" {
    defaults = { cloud_type = "gcp" }
  }
  mock_data "databricks_current_user" {
    defaults = { user_name = "someone@example.com", home = "/Users/someone@example.com" }
  }
}

variables {
  volume = "/Volumes/main/default/files"
}

run "planned" {
  command = plan

  assert {
    condition     = startswith(output.init_script, "/Volumes/main/default/files/spark-sidecar-") && endswith(output.init_script, "/databricks.sh")
    error_message = "the script is in a folder named by the hash of all files"
  }

  assert {
    condition     = output.env["SPARK_SIDECAR_ASSETS"] == output.folder
    error_message = "the nodes are told the folder"
  }
}

run "notebooks_elsewhere" {
  command = plan

  variables {
    workspace_folder = "/Shared/kit"
  }

  assert {
    condition     = alltrue([for path in values(output.notebooks) : startswith(path, "/Shared/kit/")])
    error_message = "notebooks are where the user wants them"
  }
}

run "not_a_volume" {
  command = plan

  variables {
    volume = "/Volumes/main"
  }

  expect_failures = [var.volume]
}

run "a_wheel_that_is_not_there" {
  command = plan

  variables {
    wheel = "nowhere.whl"
  }

  expect_failures = [var.wheel]
}

run "a_script_that_is_not_there" {
  command = plan

  variables {
    init_script = "nowhere.sh"
  }

  expect_failures = [var.init_script]
}

run "a_folder_with_a_slash" {
  command = plan

  variables {
    workspace_folder = "/Shared/"
  }

  expect_failures = [var.workspace_folder]
}
