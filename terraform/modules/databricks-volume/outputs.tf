output "path" {
  description = "The volume's path, /Volumes/…, as clusters see it."
  value       = databricks_volume.this.volume_path
}

output "name" {
  description = "The volume's name. Whatever uses this output waits until the volume exists."
  value       = databricks_volume.this.name
}
