data "google_project" "this" {
  project_id = var.project
}

# Asking for Cloud Storage's agent makes it: a new project has none until then.
data "google_storage_project_service_account" "this" {
  project = var.project
}

# Disks are encrypted by the agent of Compute Engine, buckets by that of Cloud Storage, and Dataproc's own data by its agent.
locals {
  number = data.google_project.this.number
  agents = {
    compute  = "service-${local.number}@compute-system.iam.gserviceaccount.com"
    dataproc = "service-${local.number}@dataproc-accounts.iam.gserviceaccount.com"
    storage  = data.google_storage_project_service_account.this.email_address
  }
}

resource "google_kms_crypto_key_iam_member" "this" {
  for_each = local.agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"
}
