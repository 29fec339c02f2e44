output "cluster_id" {
  description = "The cluster's id."
  value       = databricks_cluster.this.id
}

output "url" {
  description = "Where to open the cluster in the workspace."
  value       = databricks_cluster.this.url
}

output "platform" {
  description = "The platform that was looked up."
  value       = local.platform_name
}

output "node_type" {
  description = "The workers' node type."
  value       = local.shape.node_type
}

output "gpus_per_node" {
  description = "GPUs of each worker: the largest tensor-parallel size."
  value       = local.shape.gpus
}

output "spark_conf" {
  description = "The Spark conf that the cluster got."
  value       = databricks_cluster.this.spark_conf
}

output "env" {
  description = "The variables that the cluster got."
  value       = databricks_cluster.this.spark_env_vars
}
