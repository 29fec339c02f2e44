output "policy_id" {
  description = "The policy's id, for policy_id of the module databricks."
  value       = databricks_cluster_policy.this.id
}
