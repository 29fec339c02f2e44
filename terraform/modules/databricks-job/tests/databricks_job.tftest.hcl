mock_provider "databricks" {}

variables {
  name       = "nightly"
  cluster_id = "0123-456789-abc"
  notebook   = "/Shared/kit/embeddings"
}

run "created" {
  command = apply

  assert {
    condition     = one(databricks_job.this.task).existing_cluster_id == "0123-456789-abc" && databricks_job.this.timeout_seconds == 7200
    error_message = "it runs on the cluster, for two hours at most"
  }
}

run "no_name" {
  command = plan

  variables {
    name = ""
  }

  expect_failures = [var.name]
}

run "no_cluster" {
  command = plan

  variables {
    cluster_id = ""
  }

  expect_failures = [var.cluster_id]
}

run "a_file_for_a_notebook" {
  command = plan

  variables {
    notebook = "/Shared/kit/embeddings.ipynb"
  }

  expect_failures = [var.notebook]
}

run "negative_time" {
  command = plan

  variables {
    timeout_minutes = -1
  }

  expect_failures = [var.timeout_minutes]
}
