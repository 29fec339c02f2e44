output "cluster_id" {
  description = "The cluster's id; null with create = false."
  value       = one(databricks_cluster.this[*].id)
}

output "url" {
  description = "Address of the cluster's page in the workspace; null with create = false."
  value       = one(databricks_cluster.this[*].url)
}

output "platform" {
  description = "The platform: the one given, or that of the workspace."
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
  description = "The Spark conf of the cluster."
  value       = local.definition.spark_conf
}

output "env" {
  description = "The environment variables of the cluster."
  value       = local.definition.spark_env_vars
}

output "job_cluster" {
  description = "The definition of the cluster, for new_cluster of the module databricks-job: a job's own cluster lives as long as a run."
  value       = local.definition
  depends_on  = [terraform_data.definition]
}
