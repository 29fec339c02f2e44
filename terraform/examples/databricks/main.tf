provider "databricks" {} # finds credentials as the SDK does: DATABRICKS_HOST and a token, a profile, or the cloud's login

locals {
  # The smallest shape of the platform. Google Cloud offers no A10.
  default_shape = var.platform == "databricks-gcp" ? "l4x1" : "a10x1"
}

module "files" {
  source  = "../../modules/databricks-volume"
  catalog = var.catalog
  schema  = var.schema
  name    = "${var.prefix}_files"
  keep    = false
}

module "store" {
  source  = "../../modules/databricks-volume"
  catalog = var.catalog
  schema  = var.schema
  name    = "${var.prefix}_store"
  keep    = var.keep_store
}

module "assets" {
  source    = "../../modules/databricks-assets"
  volume    = module.files.path
  framework = var.framework
}

module "cluster" {
  source      = "../../modules/databricks"
  platform    = var.platform
  shape       = coalesce(var.shape, local.default_shape)
  framework   = var.framework
  workers     = var.workers
  init_script = module.assets.init_script
  env = {
    SPARK_SIDECAR_MODELS = "${module.store.path}/models"
    SPARK_SIDECAR_DATA   = "${module.store.path}/data"
  }
}
