terraform {
  required_version = ">= 1.11.0"

  required_providers {
    databricks = {
      source  = "databricks/databricks"
      version = "~> 1.110"
    }
  }
}

provider "databricks" {} # finds credentials as the SDK does: DATABRICKS_HOST and a token, a profile, or the cloud's login
