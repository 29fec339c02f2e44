output "job_id" {
  description = "The job's id: `databricks jobs run-now ID` runs it."
  value       = databricks_job.this.id
}

output "url" {
  description = "Where to open the job in the workspace."
  value       = databricks_job.this.url
}
