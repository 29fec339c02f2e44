resource "google_service_account" "this" {
  project      = var.project
  account_id   = var.account_id
  display_name = "Nodes of Spark Sidecar's cluster"
}

resource "google_project_iam_member" "this" {
  for_each = setunion(["roles/dataproc.worker"], var.roles)

  project = var.project
  role    = each.key
  member  = google_service_account.this.member
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = var.buckets

  bucket = each.value
  role   = "roles/storage.objectUser"
  member = google_service_account.this.member
}
