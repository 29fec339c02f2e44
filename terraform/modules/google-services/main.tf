resource "google_project_service" "this" {
  for_each = setunion(["cloudresourcemanager.googleapis.com", "compute.googleapis.com", "dataproc.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"], var.more)

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use the API

  timeouts {
    create = "20m" # enabling Compute Engine in a new project takes minutes
  }
}

# Dataproc makes its service agent when its API is enabled. In a new project that takes up to some minutes, in which creating
# a cluster fails with "… service agent … does not have …". Nothing can be asked whether the agent is ready:
# google_project_service_identity, which is in google-beta only, makes the agent but not its role, and a role given here
# would be taken from all clusters of the project at destroy. So wait a time. What needs no agent does not wait for it.
resource "time_sleep" "agents" {
  create_duration = "${var.wait_s}s"
  triggers        = { project = var.project } # another project has other agents

  depends_on = [google_project_service.this]
}
