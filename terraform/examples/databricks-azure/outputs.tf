output "cluster_url" {
  description = "Open this to see the cluster."
  value       = module.cluster.url
}

output "notebooks" {
  description = "Open one of these in the workspace, and attach it to the cluster."
  value       = module.assets.notebooks
}

output "models" {
  description = "Put models below this path: `spark-sidecar models push`, or `databricks fs cp --recursive`."
  value       = "${module.store.path}/models"
}

output "gpus_per_node" {
  description = "The largest tensor-parallel size."
  value       = module.cluster.gpus_per_node
}
