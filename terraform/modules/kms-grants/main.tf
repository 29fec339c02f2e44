data "google_project" "this" {
  project_id = var.project
}

# Disks are encrypted by the agent of Compute Engine, buckets by that of Cloud Storage, and Dataproc's own data by its agent.
locals {
  number = data.google_project.this.number
  agents = {
    compute  = "service-${local.number}@compute-system.iam.gserviceaccount.com"
    dataproc = "service-${local.number}@dataproc-accounts.iam.gserviceaccount.com"
    storage  = "service-${local.number}@gs-project-accounts.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "this" {
  for_each = local.agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"
}
