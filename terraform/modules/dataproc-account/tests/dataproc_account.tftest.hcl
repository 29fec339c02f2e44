mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "kit@project-1.iam.gserviceaccount.com", member = "serviceAccount:kit@project-1.iam.gserviceaccount.com" }
  }
}

variables {
  project = "project-1"
  buckets = { models = "project-1-models" }
}

run "created" {
  command = apply

  assert {
    condition     = keys(google_project_iam_member.this) == ["roles/dataproc.worker"]
    error_message = "what Dataproc needs, and nothing else"
  }

  assert {
    condition     = google_storage_bucket_iam_member.this["models"].role == "roles/storage.objectUser"
    error_message = "objects, not buckets"
  }
}

run "more_roles" {
  command = plan

  variables {
    roles = ["roles/secretmanager.secretAccessor"]
  }

  assert {
    condition     = length(google_project_iam_member.this) == 2
    error_message = "the role is added"
  }
}

run "a_short_id" {
  command = plan

  variables {
    account_id = "kit"
  }

  expect_failures = [var.account_id]
}

run "not_a_role" {
  command = plan

  variables {
    roles = ["owner"]
  }

  expect_failures = [var.roles]
}

run "too_much" {
  command = plan

  variables {
    roles = ["roles/editor"]
  }

  expect_failures = [var.roles]
}
