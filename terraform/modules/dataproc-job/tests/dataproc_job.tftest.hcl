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
