output "cluster_url" {
  description = "Open this to see the cluster."
  value       = module.cluster.url
}

output "notebooks" {
  description = "Paths of the notebooks: open one in the workspace, and attach it to the cluster."
  value       = module.assets.notebooks
}

output "models" {
  description = "Upload models to a folder below this path: `spark-sidecar models push`, or `databricks fs cp --recursive`."
  value       = "${module.store.path}/models"
}

output "gpus_per_node" {
  description = "GPUs of each node: the largest tensor-parallel size."
  value       = module.cluster.gpus_per_node
}

output "live_checks" {
  description = "Arguments of scripts/live_checks.py, which asks this cluster what only a live one can tell."
  value       = [module.cluster.platform, "--cluster", module.cluster.cluster_id]
}
