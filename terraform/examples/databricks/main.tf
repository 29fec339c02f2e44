locals {
  # A small node of each cloud, for which a new account gets quota soonest. A T4 (Azure) has no bfloat16: vLLM computes in float16.
  first_shapes = { databricks-aws = "a10x1-small", databricks-azure = "t4x1-small", databricks-gcp = "l4x1-small" }
}

module "schema" {
  source  = "../../modules/databricks-schema"
  catalog = var.catalog
  name    = var.schema
  create  = var.create_schema
}

module "files" {
  source  = "../../modules/databricks-volume"
  catalog = module.schema.catalog
  schema  = module.schema.schema
  name    = "${var.prefix}_files"
  keep    = false
}

module "store" {
  source  = "../../modules/databricks-volume"
  catalog = module.schema.catalog
  schema  = module.schema.schema
  name    = "${var.prefix}_store"
  keep    = var.keep_store
}

module "assets" {
  source    = "../../modules/databricks-assets"
  volume    = module.files.path
  framework = var.framework
  workers   = var.workers
}

module "grants" {
  count  = var.principal == null ? 0 : 1
  source = "../../modules/databricks-grants"

  principal     = var.principal
  catalog       = module.schema.catalog
  schema        = module.schema.schema
  write_volumes = [module.files.name, module.store.name]
  grant_schema  = var.create_schema # only its owner may use a new schema
  clusters      = { this = module.cluster.cluster_id }
}

module "cluster" {
  source      = "../../modules/databricks"
  platform    = var.platform
  shape       = coalesce(var.shape, lookup(local.first_shapes, var.platform, "t4x1-small"))
  framework   = var.framework
  workers     = var.workers
  init_script = module.assets.init_script
  log_folder  = "${module.files.path}/logs"

  single_user_name = var.principal == null ? null : module.grants[0].principal # [*] would wait for the grant on this cluster

  env = {
    SPARK_SIDECAR_MODELS = "${module.store.path}/models", SPARK_SIDECAR_DATA = "${module.store.path}/data"
    SPARK_SIDECAR_LOGS   = "${module.files.path}/logs" # of servers; those of nodes are there too
  }
}
