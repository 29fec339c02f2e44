# Azure: a lease on the blob is the lock. Make the container once, and give yourself "Storage Blob Data Contributor" on it.
terraform {
  backend "azurerm" {
    storage_account_name = "myaccountterraform"
    container_name       = "state"
    key                  = "spark-sidecar.tfstate"
    use_azuread_auth     = true
  }
}
