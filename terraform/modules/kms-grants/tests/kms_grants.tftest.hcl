mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123" }
  }
  mock_data "google_storage_project_service_account" {
    defaults = { email_address = "service-123@gs-project-accounts.iam.gserviceaccount.com" }
  }
}

variables {
  project = "project-1"
  kms_key = "projects/project-1/locations/us-central1/keyRings/spark/cryptoKeys/disks"
}

run "all_agents_may_use_the_key" {
  command = plan

  assert {
    condition = toset([for each in google_kms_crypto_key_iam_member.this : each.member]) == toset([
      "serviceAccount:service-123@compute-system.iam.gserviceaccount.com",
      "serviceAccount:service-123@dataproc-accounts.iam.gserviceaccount.com",
      "serviceAccount:service-123@gs-project-accounts.iam.gserviceaccount.com",
    ])
    error_message = "An agent is missing."
  }
}

run "a_display_name_is_no_project" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "a_short_name_is_no_key" {
  command = plan

  variables {
    kms_key = "disks"
  }

  expect_failures = [var.kms_key]
}
