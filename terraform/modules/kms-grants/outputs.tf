output "kms_key" {
  description = "The key. Whatever uses this output waits until Google's agents may use the key."
  value       = var.kms_key
  depends_on  = [google_kms_crypto_key_iam_member.this]
}
