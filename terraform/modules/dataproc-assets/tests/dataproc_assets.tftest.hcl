mock_provider "google" {}

variables {
  bucket = "project-1-files"
}

run "planned" {
  command = plan

  assert {
    condition     = output.init_action == "gs://project-1-files/spark-sidecar/dataproc.sh"
    error_message = "a name that stays, so that a change of the files makes no new cluster"
  }

  assert {
    condition     = output.metadata["spark-sidecar-bundle"] == "gs://project-1-files/spark-sidecar"
    error_message = "the nodes are told the folder"
  }
}

run "recreated" {
  command = plan

  variables {
    recreate_on_change = true
  }

  assert {
    condition     = can(regex("^gs://project-1-files/spark-sidecar-[0-9a-f]{12}/dataproc.sh$", output.init_action))
    error_message = "a name that changes with the files"
  }
}

run "an_address_for_a_bucket" {
  command = plan

  variables {
    bucket = "gs://b"
  }

  expect_failures = [var.bucket]
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
