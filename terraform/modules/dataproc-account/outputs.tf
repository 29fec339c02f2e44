output "email" {
  description = "The account's e-mail. Whatever uses this output waits until the account has its roles."
  value       = google_service_account.this.email
  depends_on  = [google_project_iam_member.this, google_storage_bucket_iam_member.this]
}
