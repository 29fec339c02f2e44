output "catalog" {
  description = "The catalog's name: the one given, or the workspace's only one."
  value       = local.catalog
  depends_on  = [data.databricks_catalogs.this]
}

output "schema" {
  description = "The schema's name. Whatever uses this output waits until the schema exists."
  value       = var.create ? databricks_schema.this[0].name : var.name
}
