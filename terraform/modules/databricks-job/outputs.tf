output "job_id" {
  description = "The job's id: `databricks jobs run-now ID` runs it."
  value       = databricks_job.this.id
}

output "url" {
  description = "Address of the job's page in the workspace."
  value       = databricks_job.this.url
}
