output "init_action" {
  description = "The gs:// address of the uploaded init script, for init_action of the module dataproc."
  value       = "gs://${var.bucket}/${google_storage_bucket_object.init_script.name}"
  depends_on  = [google_storage_bucket_object.files, google_storage_bucket_object.sums]
}

output "metadata" {
  description = "Metadata from which the init script reads where its files are, and where its logs go."
  value = merge(var.downloads, {
    spark-sidecar-bundle = "gs://${var.bucket}/${local.folder}"
    spark-sidecar-logs   = "gs://${var.bucket}/spark-sidecar-logs"
  })
}

output "programs" {
  description = "The gs:// addresses of the uploaded programs, by group and name (text/sentiment), for the module dataproc-job."
  value       = { for name, each in google_storage_bucket_object.programs : trimsuffix(trimprefix(name, "src/"), ".py") => "gs://${each.bucket}/${each.name}" }
}
