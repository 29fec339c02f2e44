resource "databricks_credential" "this" {
  name    = var.name
  purpose = "SERVICE"
  comment = "For code on the nodes that uses the cloud's own clients"

  dynamic "aws_iam_role" {
    for_each = var.aws_role_arn == null ? [] : [var.aws_role_arn]
    content {
      role_arn = aws_iam_role.value
    }
  }

  dynamic "azure_managed_identity" {
    for_each = var.azure_access_connector_id == null ? [] : [var.azure_access_connector_id]
    content {
      access_connector_id = azure_managed_identity.value
    }
  }

  # On Google Cloud Databricks makes an account of its own for the credential.
  dynamic "databricks_gcp_service_account" {
    for_each = var.aws_role_arn == null && var.azure_access_connector_id == null ? [1] : []
    content {}
  }

  lifecycle {
    precondition {
      condition     = var.aws_role_arn == null || var.azure_access_connector_id == null
      error_message = "aws_role_arn and azure_access_connector_id are both given: give the one of the workspace's cloud, and neither on Google Cloud."
    }
  }
}

resource "databricks_grant" "access" {
  for_each = var.principals

  credential = databricks_credential.this.name
  principal  = each.value
  privileges = ["ACCESS"]
}
