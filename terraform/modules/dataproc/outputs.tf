output "name" {
  description = "The cluster's name: `gcloud dataproc jobs submit pyspark --cluster NAME` uses it; null with create = false."
  value       = one(google_dataproc_cluster.this[*].name)
}

output "machine_type" {
  description = "The workers' machine type."
  value       = local.shape.node_type
}

output "gpus_per_node" {
  description = "GPUs of each worker: the largest tensor-parallel size."
  value       = local.shape.gpus
}

output "spark_conf" {
  description = "The Spark conf of the cluster."
  value       = local.spark_conf
}

output "env" {
  description = "The environment variables of the executors."
  value       = local.env
}

output "urls" {
  description = "Addresses of Jupyter, Spark's history server and the other web interfaces, by name; empty without the component gateway, null with create = false."
  value       = one(google_dataproc_cluster.this[*].cluster_config[0].endpoint_config[0].http_ports)
}

output "job_cluster" {
  description = "The definition of the cluster, for new_cluster of the module dataproc-job: a job's own cluster lives as long as a run."
  value       = local.definition
  depends_on  = [terraform_data.definition]
}
