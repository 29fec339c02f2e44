module "services" {
  source  = "../../modules/google-services"
  project = var.project
}

module "network" {
  source  = "../../modules/dataproc-network"
  project = module.services.project
  region  = var.region
  name    = var.name
}

module "files" {
  source   = "../../modules/gcs-bucket"
  project  = module.services.project
  location = var.region
  name     = "${var.project}-${var.name}-files"
  keep     = false
}

module "store" {
  source   = "../../modules/gcs-bucket"
  project  = var.project # not that of services: the bucket outlives them, and its API is on in every project
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
  project    = module.services.project
  account_id = var.name
  buckets    = { files = module.files.name, store = module.store.name }
}

module "cluster" {
  source          = "../../modules/dataproc"
  project         = module.services.project_with_agents
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
  subnetwork      = module.network.subnetwork
  network_tags    = module.network.network_tags
  # env is for tasks and servers, spark_conf for the driver.
  env        = { SPARK_SIDECAR_MODELS = "${module.store.url}/models", SPARK_SIDECAR_DATA = "${module.store.url}/data", SPARK_SIDECAR_LOGS = module.assets.metadata["spark-sidecar-logs"] }
  spark_conf = { "spark.sidecar.models" = "${module.store.url}/models", "spark.sidecar.data" = "${module.store.url}/data" }
}
