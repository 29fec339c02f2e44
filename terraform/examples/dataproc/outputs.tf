output "urls" {
  description = "Open Jupyter, which has the notebooks, or Spark's UI here."
  value       = module.cluster.urls
}

output "cluster" {
  description = "The cluster's name: `gcloud dataproc jobs submit pyspark --cluster NAME` uses it."
  value       = module.cluster.name
}

output "models" {
  description = "Put models below this address: `spark-sidecar models push`, or `gcloud storage cp --recursive`."
  value       = "${module.store.url}/models"
}

output "gpus_per_node" {
  description = "The largest tensor-parallel size."
  value       = module.cluster.gpus_per_node
}
