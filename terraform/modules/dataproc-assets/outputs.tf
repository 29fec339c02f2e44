output "init_action" {
  description = "The gs:// address of the uploaded init script, for the cluster."
  value       = "gs://${var.bucket}/${google_storage_bucket_object.init_script.name}"
  depends_on  = [google_storage_bucket_object.files, google_storage_bucket_object.sums]
}

output "metadata" {
  description = "Metadata that tells the init script where the files are, and where to put its logs."
  value = {
    spark-sidecar-bundle = "gs://${var.bucket}/${local.folder}"
    spark-sidecar-logs   = "gs://${var.bucket}/spark-sidecar-logs"
  }
}

output "programs" {
  description = "The gs:// addresses of the notebooks' sources, by name, for jobs."
  value       = { for name, each in google_storage_bucket_object.programs : trimsuffix(basename(name), ".py") => "gs://${each.bucket}/${each.name}" }
}
