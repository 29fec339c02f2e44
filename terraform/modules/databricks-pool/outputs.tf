output "instance_pool_id" {
  description = "The pool's id, for instance_pool_id of the module databricks."
  value       = databricks_instance_pool.this.id
}
