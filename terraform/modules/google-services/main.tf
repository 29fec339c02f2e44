# Dataproc makes its service agent when its API is enabled. In a new project that takes up to some minutes, in which creating
# a cluster fails with "… service agent … does not have …". No resource of the provider waits for an agent:
# google_project_service_identity is in google-beta only, and a grant to an account that does not exist fails at once
# (google/tpgiamresource/iam.go). So put between this and the cluster what takes minutes anyway, as the example puts its NAT;
# where that is not enough, apply again.
resource "google_project_service" "this" {
  for_each = setunion(["cloudresourcemanager.googleapis.com", "compute.googleapis.com", "dataproc.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"], var.more)

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use the API

  timeouts {
    create = "20m" # enabling Compute Engine in a new project takes minutes
  }
}
