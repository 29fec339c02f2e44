output "init_action" {
  description = "The gs:// address of the uploaded init script, for the cluster."
  value       = "gs://${google_storage_bucket_object.this[basename(local.init_script)].bucket}/${google_storage_bucket_object.this[basename(local.init_script)].name}"
}

output "metadata" {
  description = "Metadata that tells the init script where the files are."
  value       = { spark-sidecar-assets = "gs://${var.bucket}/${local.folder}" }
}

output "programs" {
  description = "The gs:// addresses of the notebooks' sources, by name, for jobs."
  value       = { for name, each in google_storage_bucket_object.program : trimsuffix(basename(name), ".py") => "gs://${each.bucket}/${each.name}" }
}
