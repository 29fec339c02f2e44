# Google Cloud: the bucket locks by itself. Make it once, with versioning: the module gcs-bucket does.
terraform {
  backend "gcs" {
    bucket = "my-project-terraform-state"
    prefix = "spark-sidecar"
  }
}
