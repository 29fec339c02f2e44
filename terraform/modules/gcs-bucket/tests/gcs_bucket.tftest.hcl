mock_provider "google" {
  mock_resource "google_storage_bucket" {
    defaults = { url = "gs://project-1-models" }
  }
}

variables {
  project  = "project-1"
  location = "us-central1"
  name     = "project-1-models"
  keep     = true
}

run "created" {
  command = apply

  assert {
    condition     = google_storage_bucket.this.uniform_bucket_level_access && google_storage_bucket.this.public_access_prevention == "enforced"
    error_message = "nobody else reads it"
  }

  assert {
    condition     = !google_storage_bucket.this.force_destroy && one(google_storage_bucket.this.versioning).enabled
    error_message = "what is in it stays"
  }
}

run "a_bucket_to_throw_away" {
  command = plan

  variables {
    keep = false
  }

  assert {
    condition     = google_storage_bucket.this.force_destroy
    error_message = "it goes with all that is in it"
  }
}

run "encrypted" {
  command = plan

  variables {
    kms_key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
  }

  assert {
    condition     = one(google_storage_bucket.this.encryption).default_kms_key_name == var.kms_key
    error_message = "objects have the user's key"
  }
}

run "capitals" {
  command = plan

  variables {
    name = "Models"
  }

  expect_failures = [var.name]
}

run "not_a_key" {
  command = plan

  variables {
    kms_key = "k"
  }

  expect_failures = [var.kms_key]
}

run "no_days" {
  command = plan

  variables {
    noncurrent_days = 0
  }

  expect_failures = [var.noncurrent_days]
}

run "labels_of_googles" {
  command = plan

  variables {
    labels = { goog-team = "a" }
  }

  expect_failures = [var.labels]
}
