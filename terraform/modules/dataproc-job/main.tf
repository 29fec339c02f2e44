# A template costs nothing and runs when it is instantiated, like a job on Databricks. A google_dataproc_job would run once,
# at apply.
resource "google_dataproc_workflow_template" "this" {
  project  = var.project
  location = var.region
  name     = var.name
  labels   = merge({ spark-sidecar = "job" }, var.labels)

  placement {
    cluster_selector {
      cluster_labels = { goog-dataproc-cluster-name = var.cluster }
    }
  }

  jobs {
    step_id = "notebook"
    labels  = var.labels

    pyspark_job {
      main_python_file_uri = var.program
      args                 = var.args
    }
  }
}
