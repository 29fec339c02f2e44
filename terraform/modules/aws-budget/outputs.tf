output "id" {
  description = "The budget's id."
  value       = aws_budgets_budget.this.id
}
