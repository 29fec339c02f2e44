output "instance_profile_arn" {
  description = "The profile's ARN, for instance_profile_arn of the module databricks. Whatever uses this output waits until the workspace knows the profile."
  value       = databricks_instance_profile.this.instance_profile_arn
}
