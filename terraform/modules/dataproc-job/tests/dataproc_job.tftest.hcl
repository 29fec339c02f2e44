mock_provider "google" {}

variables {
  project = "project-1"
  region  = "us-central1"
  name    = "nightly"
  cluster = "spark-sidecar"
  program = "gs://project-1-files/spark-sidecar-jobs/embeddings.py"
}

run "created" {
  command = apply

  assert {
    condition     = one(one(google_dataproc_workflow_template.this.placement).cluster_selector).cluster_labels["goog-dataproc-cluster-name"] == "spark-sidecar"
    error_message = "it runs on the cluster of that name"
  }

  assert {
    condition     = google_dataproc_workflow_template.this.labels == tomap({ spark-sidecar = "job" })
    error_message = "budgets count it by this label"
  }

  assert {
    condition     = google_dataproc_workflow_template.this.dag_timeout == null
    error_message = "the cluster bills with or without the run"
  }
}

run "a_short_name" {
  command = plan

  variables {
    name = "x"
  }

  expect_failures = [var.name]
}

run "a_notebook_for_a_program" {
  command = plan

  variables {
    program = "gs://b/embeddings.ipynb"
  }

  expect_failures = [var.program]
}

run "labels_in_capitals" {
  command = plan

  variables {
    labels = { Team = "a" }
  }

  expect_failures = [var.labels]
}

run "definition" {
  command = plan

  variables {
    create          = false
    zone            = "us-central1-a"
    shape           = "l4x1"
    framework       = "vllm"
    name            = "nightly"
    labels          = {}
    service_account = "kit@project-1.iam.gserviceaccount.com"
    staging_bucket  = "project-1-files"
  }

  module {
    source = "../dataproc"
  }

  assert {
    condition     = length(google_dataproc_cluster.this) == 0
    error_message = "only the definition"
  }
}

run "a_cluster_of_its_own" {
  command = plan

  variables {
    cluster         = null
    new_cluster     = run.definition.job_cluster
    timeout_minutes = 60
    retries         = 2
    labels          = { team = "a" }
  }

  assert {
    condition     = one(one(google_dataproc_workflow_template.this.placement).managed_cluster).cluster_name == "nightly" && length(one(google_dataproc_workflow_template.this.placement).cluster_selector) == 0
    error_message = "it makes a cluster, and selects none"
  }

  assert {
    condition     = one(one(google_dataproc_workflow_template.this.placement).managed_cluster).labels == tomap({ spark-sidecar = "vllm", team = "a" })
    error_message = "budgets count the cluster by its labels"
  }

  assert {
    condition     = google_dataproc_workflow_template.this.labels == one(one(google_dataproc_workflow_template.this.placement).managed_cluster).labels
    error_message = "Dataproc puts the template's labels on the cluster too"
  }

  assert {
    condition     = google_dataproc_workflow_template.this.dag_timeout == "3600s" && one(one(google_dataproc_workflow_template.this.jobs).scheduling).max_failures_total == 2
    error_message = "the run ends after an hour, or three failures"
  }

  assert {
    condition     = length(google_cloud_scheduler_job.this) == 0
    error_message = "by hand"
  }
}

run "a_cluster_of_its_own_without_a_limit_that_is_given" {
  command = plan

  variables {
    cluster     = null
    new_cluster = run.definition.job_cluster
  }

  assert {
    condition     = google_dataproc_workflow_template.this.dag_timeout == "7200s"
    error_message = "a driver that hangs does not bill for ever"
  }
}

run "every_night" {
  command = apply

  variables {
    schedule = { cron = "0  3 * * *", timezone = "Europe/Berlin", service_account = "cron@project-1.iam.gserviceaccount.com" }
  }

  assert {
    condition     = one(google_cloud_scheduler_job.this[0].http_target).uri == "https://dataproc.googleapis.com/v1/projects/project-1/regions/us-central1/workflowTemplates/nightly:instantiate" && one(google_cloud_scheduler_job.this[0].http_target).http_method == "POST"
    error_message = "the scheduler starts the template"
  }

  assert {
    condition     = one(one(google_cloud_scheduler_job.this[0].http_target).oauth_token).service_account_email == "cron@project-1.iam.gserviceaccount.com" && one(google_cloud_scheduler_job.this[0].http_target).headers["Content-Type"] == "application/json"
    error_message = "as that account, in JSON"
  }

  assert {
    condition     = google_cloud_scheduler_job.this[0].time_zone == "Europe/Berlin"
    error_message = "at three o'clock there"
  }

  assert {
    condition     = length(jsondecode(base64decode(one(google_cloud_scheduler_job.this[0].http_target).body)).requestId) == 40
    error_message = "with a tag, Dataproc starts no second run beside one that goes on, and a tag has at most 40 letters"
  }
}

run "without_an_end" {
  command = plan

  variables {
    timeout_minutes = 0
  }

  assert {
    condition     = google_dataproc_workflow_template.this.dag_timeout == null
    error_message = "0 is for never"
  }
}

run "no_cluster" {
  command = plan

  variables {
    cluster = null
  }

  expect_failures = [google_dataproc_workflow_template.this]
}

run "a_long_name_of_its_own_cluster" {
  command = plan

  variables {
    cluster     = null
    new_cluster = merge(run.definition.job_cluster, { name = "a-name-that-has-more-than-35-letters" })
  }

  expect_failures = [google_dataproc_workflow_template.this]
}

run "local_disks" {
  command = plan

  variables {
    cluster     = null
    new_cluster = merge(run.definition.job_cluster, { workers = merge(run.definition.job_cluster.workers, { local_ssds = 1 }) })
  }

  expect_failures = [google_dataproc_workflow_template.this]
}

run "a_cluster_in_another_region" {
  command = plan

  variables {
    cluster     = null
    new_cluster = merge(run.definition.job_cluster, { region = "europe-west4" })
  }

  expect_failures = [google_dataproc_workflow_template.this]
}

run "a_cron_expression_of_quartz" {
  command = plan

  variables {
    schedule = { cron = "0 0 3 * * ?", service_account = "cron@project-1.iam.gserviceaccount.com" }
  }

  expect_failures = [var.schedule]
}

run "a_user_for_a_service_account" {
  command = plan

  variables {
    schedule = { cron = "0 3 * * *", service_account = "someone@example.com" }
  }

  expect_failures = [var.schedule]
}

run "many_retries" {
  command = plan

  variables {
    retries = 11
  }

  expect_failures = [var.retries]
}

run "a_short_timeout" {
  command = plan

  variables {
    timeout_minutes = 5
  }

  expect_failures = [var.timeout_minutes]
}
