output "urls" {
  description = "Addresses of Jupyter, which has the notebooks, and of Spark's UI."
  value       = module.cluster.urls
}

output "cluster" {
  description = "The cluster's name: `gcloud dataproc jobs submit pyspark --cluster NAME` uses it."
  value       = module.cluster.name
}

output "models" {
  description = "Upload models to a folder below this address: `spark-sidecar models push`, or `gcloud storage cp --recursive`."
  value       = "${module.store.url}/models"
}

output "gpus_per_node" {
  description = "GPUs of each node: the largest tensor-parallel size."
  value       = module.cluster.gpus_per_node
}

output "live_checks" {
  description = "Arguments of scripts/live_checks.py, which asks this cluster what only a live one can tell."
  value       = ["dataproc", "--cluster", module.cluster.name, "--region", var.region, "--project", var.project]
}
