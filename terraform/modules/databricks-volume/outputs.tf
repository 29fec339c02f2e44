output "path" {
  description = "The volume's path, /Volumes/…, as clusters see it."
  value       = databricks_volume.this.volume_path
}
