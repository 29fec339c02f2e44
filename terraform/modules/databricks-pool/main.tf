locals {
  catalogue = jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms
  platform  = local.catalogue[var.platform]
  shape     = local.platform.shapes[var.shape]
  cloud     = local.platform.attributes
}

resource "databricks_instance_pool" "this" {
  instance_pool_name                    = var.name
  node_type_id                          = local.shape.node_type
  min_idle_instances                    = var.min_idle
  max_capacity                          = var.max_capacity
  idle_instance_autotermination_minutes = var.idle_minutes
  preloaded_spark_versions              = [var.runtime != null ? var.runtime : local.platform.runtime]
  custom_tags                           = merge({ "spark-sidecar" = "pool" }, var.tags)

  # Driver and workers come from one pool, so it is on demand: a driver on spot takes the whole job along.
  dynamic "aws_attributes" {
    for_each = var.platform == "databricks-aws" ? [1] : []
    content {
      availability = local.cloud.on_demand
      zone_id      = local.cloud.zone_id
    }
  }

  dynamic "azure_attributes" {
    for_each = var.platform == "databricks-azure" ? [1] : []
    content {
      availability = local.cloud.on_demand
    }
  }

  dynamic "gcp_attributes" {
    for_each = var.platform == "databricks-gcp" ? [1] : []
    content {
      gcp_availability = local.cloud.on_demand
    }
  }

  lifecycle {
    precondition {
      condition     = !local.shape.spot_only
      error_message = "${local.shape.node_type} (${var.shape}) is sold as spot only, and a pool is on demand, because drivers come from it too: choose another shape, or a cluster without a pool."
    }

    precondition {
      condition     = local.shape.documented || var.allow_undocumented
      error_message = "The documents of ${var.platform} do not name ${local.shape.node_type} (${var.shape}), so it may be refused: set allow_undocumented = true to try it, or choose another shape."
    }
  }
}
