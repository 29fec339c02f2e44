output "command" {
  description = "The command that runs the template."
  value       = "gcloud dataproc workflow-templates instantiate ${google_dataproc_workflow_template.this.name} --region ${var.region} --project ${var.project}"
}
