mock_provider "databricks" {
  mock_data "databricks_current_config" {
    defaults = { cloud_type = "gcp" }
  }
  mock_data "databricks_current_user" {
    defaults = { user_name = "someone@example.com", home = "/Users/someone@example.com" }
  }
}

variables {
  volume    = "/Volumes/main/default/files"
  framework = "vllm"
}

run "planned" {
  command = plan

  assert {
    condition     = startswith(output.init_script, "/Volumes/main/default/files/spark-sidecar-") && endswith(output.init_script, "/databricks.sh")
    error_message = "the script is in a folder named by the hash of all files"
  }

  assert {
    condition     = strcontains(local.texts["spark-sidecar.env"], "FRAMEWORK=vllm\nSPARK_SIDECAR_BUNDLE=${output.folder}\n")
    error_message = "the settings name the framework and the folder"
  }

  assert {
    condition     = strcontains(local.texts["databricks.sh"], "${output.folder}/spark-sidecar.env") && !strcontains(local.texts["databricks.sh"], "@SETTINGS@")
    error_message = "the script is told where its settings are"
  }

  assert {
    condition     = one([for name, path in local.files : "${filesha256(path)}  ${name}\n"]) == local.texts["SHA256SUMS"]
    error_message = "the sum of the wheel, as sha256sum checks it"
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

run "an_unknown_framework" {
  command = plan

  variables {
    framework = "onnx"
  }

  expect_failures = [var.framework]
}

run "a_framework_that_databricks_cannot_run" {
  command = plan

  variables {
    framework = "nim"
  }

  expect_failures = [var.framework]
}

run "a_folder_that_is_no_bundle" {
  command = plan

  variables {
    bundle = "tests"
  }

  expect_failures = [var.bundle]
}

run "a_setting_that_no_script_reads" {
  command = plan

  variables {
    downloads = { PIP_INDEX_URL = "https://index.example.com" }
  }

  expect_failures = [var.downloads]
}

run "a_password_in_an_address" {
  command = plan

  variables {
    downloads = { HTTPS_PROXY = "http://me:secret@proxy.example.com" }
  }

  expect_failures = [var.downloads]
}

run "the_settings_say_how_many_workers_there_are" {
  command = plan

  variables {
    workers = 0
  }

  assert {
    condition     = strcontains(base64decode(databricks_file.texts["spark-sidecar.env"].content_base64), "\nSPARK_SIDECAR_WORKERS=0\n")
    error_message = "init scripts of runtime 19 read the number from the file"
  }
}

run "half_a_worker" {
  command = plan

  variables {
    workers = 0.5
  }

  expect_failures = [var.workers]
}
