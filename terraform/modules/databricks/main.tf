# Everything that depends on platform, shape or framework is looked up in the catalogue, clusters.json; nothing is computed here.
locals {
  catalogue            = jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms
  databricks_platforms = [for name in keys(local.catalogue) : name if startswith(name, "databricks-")]
  platform_name        = var.platform != null ? var.platform : "databricks-${data.databricks_current_config.this[0].cloud_type}"
  platform             = local.catalogue[local.platform_name]
  shape                = local.platform.shapes[var.shape]
  gpu_node_types       = distinct(concat([local.platform.driver_node_type], [for each in local.platform.shapes : each.node_type if each.gpus > 0]))

  workers     = var.workers != null ? var.workers : 2
  single_node = var.autoscale == null && local.workers == 0
  pooled      = var.instance_pool_id != null

  # A single node runs Spark in local mode, which has no executors and hangs if executors or tasks request GPUs
  # (NVIDIA/spark-rapids discussion 8094).
  conf_of_executors = local.single_node ? { for key, value in local.shape.conf : key => value if !can(regex("^spark\\.(executor|task)\\.", key)) } : local.shape.conf
  conf_of_one_node  = local.single_node ? { "spark.databricks.cluster.profile" = "singleNode", "spark.master" = "local[*]" } : {}
  conf_of_rapids    = var.rapids && local.shape.rapids_conf != null ? local.shape.rapids_conf : {}
  spark_conf        = merge(local.conf_of_executors, local.conf_of_one_node, local.conf_of_rapids, var.spark_conf)
  env               = merge(local.platform.frameworks[var.framework].env, var.env)

  availability = {
    databricks-aws   = { on_demand = "ON_DEMAND", spot = "SPOT_WITH_FALLBACK" }
    databricks-azure = { on_demand = "ON_DEMAND_AZURE", spot = "SPOT_WITH_FALLBACK_AZURE" }
    databricks-gcp   = { on_demand = "ON_DEMAND_GCP", spot = "PREEMPTIBLE_WITH_FALLBACK_GCP" }
  }[local.platform_name][var.spot ? "spot" : "on_demand"]

  secret_name      = "(?i)(passw|passphrase|(^|[._-])(secret|token|(api|access|private|secret|account)[._-]?key)($|\\.))"
  secret_reference = "^\\{\\{secrets/[^/]+/[^/]+\\}\\}$"
}

data "databricks_current_config" "this" {
  count = var.platform == null ? 1 : 0
}

data "databricks_current_user" "this" {
  count = var.single_user_name == null ? 1 : 0
}

resource "databricks_cluster" "this" {
  cluster_name            = var.name
  spark_version           = var.runtime != null ? var.runtime : local.platform.runtime
  runtime_engine          = "STANDARD" # Photon does not run on GPU nodes
  instance_pool_id        = var.instance_pool_id
  node_type_id            = local.pooled ? null : local.shape.node_type
  driver_node_type_id     = local.pooled ? null : local.single_node ? local.shape.node_type : var.driver_node_type != null ? var.driver_node_type : local.platform.driver_node_type
  num_workers             = var.autoscale == null ? local.workers : null
  autotermination_minutes = var.idle_minutes
  policy_id               = var.policy_id
  spark_conf              = local.spark_conf
  spark_env_vars          = local.env
  custom_tags             = merge({ "spark-sidecar" = var.framework }, var.tags, local.single_node ? { ResourceClass = "SingleNode" } : {})

  # Dedicated access mode: GPU runtimes and RDDs need it. The old name, SINGLE_USER, because the new names and `kind` show
  # a change at every plan (databricks/terraform-provider-databricks issues 4360 and 4909). So does a missing user name.
  data_security_mode = "SINGLE_USER"
  single_user_name   = var.single_user_name != null ? var.single_user_name : data.databricks_current_user.this[0].user_name

  dynamic "autoscale" {
    for_each = var.autoscale == null ? [] : [var.autoscale]
    content {
      min_workers = autoscale.value.min_workers
      max_workers = autoscale.value.max_workers
    }
  }

  dynamic "worker_node_type_flexibility" {
    for_each = length(var.alternative_shapes) > 0 ? [1] : []
    content {
      alternate_node_type_ids = [for each in var.alternative_shapes : local.platform.shapes[each].node_type]
    }
  }

  dynamic "aws_attributes" {
    for_each = local.platform_name == "databricks-aws" && (!local.pooled || var.instance_profile_arn != null) ? [1] : []
    content {
      availability         = local.pooled ? null : local.availability
      first_on_demand      = local.pooled ? null : 1
      zone_id              = local.pooled ? null : "auto"
      instance_profile_arn = var.instance_profile_arn
    }
  }

  dynamic "azure_attributes" {
    for_each = local.platform_name == "databricks-azure" && !local.pooled ? [1] : []
    content {
      availability    = local.availability
      first_on_demand = 1
    }
  }

  dynamic "gcp_attributes" {
    for_each = local.platform_name == "databricks-gcp" && !local.pooled ? [1] : []
    content {
      availability    = local.availability
      first_on_demand = 1
      zone_id         = "AUTO"
    }
  }

  dynamic "init_scripts" {
    for_each = var.init_script == null ? [] : [var.init_script]
    content {
      volumes {
        destination = init_scripts.value
      }
    }
  }

  dynamic "cluster_log_conf" {
    for_each = var.log_folder == null ? [] : [var.log_folder]
    content {
      volumes {
        destination = cluster_log_conf.value
      }
    }
  }

  timeouts {
    create = "60m" # waiting for GPU capacity, then running the init script
    update = "60m"
  }

  lifecycle {
    precondition {
      condition     = local.shape.gpus > 0
      error_message = "The node type ${local.shape.node_type} of shape ${var.shape} has no GPUs: correct the catalogue, server_utils/data/gpus.json."
    }

    precondition {
      condition     = !var.rapids || local.shape.rapids_conf != null
      error_message = "The RAPIDS Accelerator supports one GPU per executor, but ${var.shape} has ${local.shape.gpus}: set rapids = false, or choose a shape that ends with x1."
    }

    precondition {
      condition = alltrue([
        for each in var.alternative_shapes :
        local.platform.shapes[each].gpus == local.shape.gpus && local.platform.shapes[each].vcpus >= local.shape.vcpus
      ])
      error_message = "An alternative to ${var.shape} needs ${local.shape.gpus} GPUs and at least ${local.shape.vcpus} vCPUs, because the Spark conf assumes them. Choose among: ${join(", ", [for name, each in local.platform.shapes : name if each.gpus == local.shape.gpus && each.vcpus >= local.shape.vcpus && name != var.shape])}."
    }

    precondition {
      condition     = var.autoscale == null || var.workers == null
      error_message = "autoscale and workers (${local.workers}) both set the number of workers: leave workers out."
    }

    precondition {
      condition     = !local.single_node || (var.driver_node_type == null && length(var.alternative_shapes) == 0 && !var.rapids)
      error_message = "A single-node cluster (workers = 0) has no separate driver and no workers: leave driver_node_type, alternative_shapes and rapids out."
    }

    precondition {
      condition     = var.instance_profile_arn == null || local.platform_name == "databricks-aws"
      error_message = "instance_profile_arn is for databricks-aws, but the platform is ${local.platform_name}: leave it out."
    }
  }
}
