provider "google" {} # finds the application-default credentials

locals {
  models = "${module.store.url}/models"
  data   = "${module.store.url}/data"
}

module "files" {
  source   = "../../modules/gcs-bucket"
  project  = var.project
  location = var.region
  name     = "${var.project}-${var.name}-files"
  keep     = false
}

module "store" {
  source   = "../../modules/gcs-bucket"
  project  = var.project
  location = var.region
  name     = "${var.project}-${var.name}-store"
  keep     = var.keep_store
}

module "assets" {
  source = "../../modules/dataproc-assets"
  bucket = module.files.name
}

module "account" {
  source     = "../../modules/dataproc-account"
  project    = var.project
  account_id = var.name
  buckets    = { files = module.files.name, store = module.store.name }
}

module "cluster" {
  source          = "../../modules/dataproc"
  project         = var.project
  region          = var.region
  zone            = var.zone
  name            = var.name
  shape           = var.shape
  framework       = var.framework
  workers         = var.workers
  service_account = module.account.email
  staging_bucket  = module.files.name
  init_action     = module.assets.init_action
  metadata        = module.assets.metadata
  env             = { SPARK_SIDECAR_MODELS = local.models, SPARK_SIDECAR_DATA = local.data }     # for tasks
  spark_conf      = { "spark.sidecar.models" = local.models, "spark.sidecar.data" = local.data } # for the driver
}
