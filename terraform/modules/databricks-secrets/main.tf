# The scope only. A secret given to Terraform would be readable in its state: put it there by hand, or from a pipeline.
resource "databricks_secret_scope" "this" {
  name = var.scope
}

resource "databricks_secret_acl" "readers" {
  for_each = var.readers

  scope      = databricks_secret_scope.this.name
  principal  = each.key
  permission = "READ"
}
