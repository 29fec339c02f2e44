output "name" {
  description = "The credential's name, for dbutils.credentials.getServiceCredentialsProvider. Whatever uses this output waits for the grants."
  value       = databricks_credential.this.name
  depends_on  = [databricks_grant.access]
}
