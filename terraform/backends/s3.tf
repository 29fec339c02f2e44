# AWS: the lock is a file beside the state, and no table is needed. Make the bucket once, with versioning.
terraform {
  backend "s3" {
    bucket       = "my-account-terraform-state"
    key          = "spark-sidecar/terraform.tfstate"
    region       = "us-east-1"
    encrypt      = true
    use_lockfile = true
  }
}
