output "id" {
  description = "The budget's id."
  value       = azurerm_consumption_budget_subscription.this.id
}
