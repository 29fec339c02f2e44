resource "databricks_instance_profile" "this" {
  instance_profile_arn = var.instance_profile_arn
  iam_role_arn         = var.iam_role_arn
  skip_validation      = false # Databricks starts a node for a moment, to see that it may pass the role
}
