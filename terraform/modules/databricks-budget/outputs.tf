output "id" {
  description = "The budget's id."
  value       = databricks_budget.this.id
}
