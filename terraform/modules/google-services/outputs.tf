output "project" {
  description = "The project. Whatever uses this output waits until the APIs are enabled."
  value       = var.project
  depends_on  = [google_project_service.this]
}

output "project_with_agents" {
  description = "The project, for the module dataproc. Whatever uses this output waits until Google has made its service agents too."
  value       = time_sleep.agents.triggers.project
}
