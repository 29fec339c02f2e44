# Dataproc makes its service agent when its API is enabled. In a new project that takes up to some minutes, in which creating
# a cluster fails with "… service agent … does not have …": apply again.
resource "google_project_service" "this" {
  for_each = setunion(["cloudresourcemanager.googleapis.com", "compute.googleapis.com", "dataproc.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"], var.more)

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use the API

  timeouts {
    create = "20m" # enabling Compute Engine in a new project takes minutes
  }
}
