output "project" {
  description = "The project. Whatever uses this output waits until the APIs are enabled."
  value       = var.project
  depends_on  = [google_project_service.this]
}
