output "put" {
  description = "The command that stores a secret: replace KEY, and type the secret when asked."
  value       = "databricks secrets put-secret ${databricks_secret_scope.this.name} KEY"
}

output "reference" {
  description = "What stands for the secret in env and spark_conf: replace KEY."
  value       = "{{secrets/${databricks_secret_scope.this.name}/KEY}}"
}
