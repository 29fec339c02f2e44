resource "databricks_job" "this" {
  name                = var.name
  max_concurrent_runs = 1 # two runs would share the cluster's servers
  timeout_seconds     = var.timeout_minutes * 60
  tags                = merge({ "spark-sidecar" = "job" }, var.tags)

  task {
    task_key            = "notebook"
    existing_cluster_id = var.cluster_id

    notebook_task {
      notebook_path   = var.notebook
      base_parameters = var.parameters
    }
  }
}
