mock_provider "google" {}

mock_provider "time" {}

variables {
  project = "project-1"
}

run "what_a_cluster_needs_is_enabled_and_stays_enabled" {
  command = plan

  assert {
    condition     = keys(google_project_service.this) == ["cloudresourcemanager.googleapis.com", "compute.googleapis.com", "dataproc.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"]
    error_message = "An API is missing."
  }

  assert {
    condition     = alltrue([for each in google_project_service.this : !each.disable_on_destroy])
    error_message = "Destroying would disable APIs for others."
  }
}

run "more_are_enabled_when_asked" {
  command = plan

  variables {
    more = ["secretmanager.googleapis.com"]
  }

  assert {
    condition     = contains(keys(google_project_service.this), "secretmanager.googleapis.com")
    error_message = "The further API is missing."
  }
}

run "a_display_name_is_no_project" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "a_short_name_is_no_api" {
  command = plan

  variables {
    more = ["secretmanager"]
  }

  expect_failures = [var.more]
}

run "clusters_wait_for_the_agents" {
  command = apply

  assert {
    condition     = time_sleep.agents.create_duration == "180s" && output.project_with_agents == "project-1"
    error_message = "a new project makes its agents within minutes"
  }
}

run "a_wait_of_hours" {
  command = plan

  variables {
    wait_s = 7200
  }

  expect_failures = [var.wait_s]
}
