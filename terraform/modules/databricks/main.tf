# Everything that depends on platform, shape or framework is looked up in the catalogue, clusters.json; nothing is computed here.
locals {
  catalogue            = jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms
  databricks_platforms = [for name in keys(local.catalogue) : name if startswith(name, "databricks-")]
  platform_name        = var.platform != null ? var.platform : "databricks-${data.databricks_current_config.this[0].cloud_type}"
  platform             = local.catalogue[local.platform_name]
  shapes               = merge(local.platform.shapes, { for each in module.custom_node : "own" => each.shape })
  shape                = local.shapes[var.node != null ? "own" : var.shape]
  shape_name           = var.node != null ? var.node.node_type : var.shape
  gpu_node_types       = distinct(concat([local.platform.driver_node_type], [for each in local.shapes : each.node_type if each.gpus > 0]))

  workers     = var.workers != null ? var.workers : 2
  single_node = var.autoscale == null && local.workers == 0
  pooled      = var.instance_pool_id != null

  conf           = { for key, value in local.single_node ? local.shape.single_node.conf : local.shape.conf : key => value }
  conf_of_rapids = var.rapids && local.shape.rapids_conf != null ? local.shape.rapids_conf : {}
  spark_conf     = merge(local.conf, local.conf_of_rapids, var.spark_conf)
  env            = merge(local.platform.frameworks[var.framework].env, local.shape.env, var.env)

  # Databricks' own rule for flexible node types. Where the disks are not known, no shape has an alternative.
  compatible = [for name, each in local.shapes : name if name != var.shape && each.gpus == local.shape.gpus && each.vcpus == local.shape.vcpus && each.local_disks != null && each.local_disks == local.shape.local_disks && each.ram_gib >= local.shape.ram_gib && each.ram_gib <= local.shape.ram_gib * 1.1]

  cloud        = local.platform.attributes
  availability = var.spot ? local.cloud.spot : local.cloud.on_demand
  zone         = var.zone != null ? var.zone : local.cloud.zone_id

  zones            = { databricks-aws = "^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", databricks-gcp = "^[a-z]+-[a-z]+[0-9]+-[a-z]$" }
  secret_name      = "(?i)(passw|passphrase|(secret|token|(api|access|private|secret|account|storage)[._-]?key)($|\\.)|azure\\.sas\\.|connection[._-]?string|jaas\\.config)"
  secret_address   = "://[^/?#\\s:@]*:[^/?#\\s@]+@|(?i:https?)://[^/?#\\s@]+@" # a password or token in it, unlike abfss://container@account
  secret_reference = "^\\{\\{secrets/[^/]+/[^/]+\\}\\}$"
}

module "custom_node" {
  source   = "../../custom-node"
  count    = var.node == null ? 0 : 1
  platform = local.platform_name
  node     = var.node
}

data "databricks_current_config" "this" {
  count = var.platform == null ? 1 : 0
}

data "databricks_current_user" "this" {
  count = var.single_user_name == null ? 1 : 0
}

# What is checked before anything is made, for a cluster and for a job's own cluster alike.
resource "terraform_data" "definition" {
  input = local.shape.node_type

  lifecycle {
    precondition {
      condition     = local.shape.gpus > 0
      error_message = "The node type ${local.shape.node_type} of shape ${local.shape_name} has no GPUs: correct the catalogue, server_utils/data/gpus.json."
    }

    precondition {
      condition     = !var.rapids || local.shape.rapids_conf != null
      error_message = "The RAPIDS Accelerator supports one GPU per executor, but ${local.shape_name} has ${local.shape.gpus}: set rapids = false, or choose a shape that ends with x1."
    }

    precondition {
      condition     = alltrue([for each in var.alternative_shapes : contains(local.compatible, each)])
      error_message = "An alternative to ${local.shape_name} needs the same ${local.shape.gpus} GPUs, ${local.shape.vcpus} vCPUs and local disks, and 100 to 110 % of its memory: so Databricks wants it. Choose among: ${length(local.compatible) > 0 ? join(", ", local.compatible) : "none, leave alternative_shapes out"}."
    }

    precondition {
      condition     = !local.shape.spot_only || var.spot || local.pooled
      error_message = "${local.shape.node_type} (${local.shape_name}) is sold as spot only: set spot = true, or choose another shape."
    }

    precondition {
      condition     = local.shape.documented || var.allow_undocumented
      error_message = "The documents of ${local.platform_name} do not name ${local.shape.node_type} (${local.shape_name}), so it may be refused: set allow_undocumented = true to try it, or choose another shape."
    }

    precondition {
      condition     = var.zone == null || local.platform_name != "databricks-azure"
      error_message = "zone is '${coalesce(var.zone, "null")}', but Azure chooses the zone: leave it out."
    }

    precondition {
      condition     = var.zone == null || !contains(keys(local.zones), local.platform_name) ? true : can(regex(local.zones[local.platform_name], var.zone))
      error_message = "zone is '${coalesce(var.zone, "null")}', which is none of ${local.platform_name}: give one such as ${local.platform_name == "databricks-aws" ? "us-east-1a" : "us-central1-a"}."
    }

    precondition {
      condition     = alltrue([for key, value in var.tags : can(regex("^(${local.platform.tags.name})$", key)) && can(regex("^(${local.platform.tags.value})$", value)) && !anytrue([for each in local.platform.tags.prefixes : startswith(lower(key), each)])]) && length(var.tags) <= local.platform.tags.most
      error_message = "Each of at most ${local.platform.tags.most} tags is a ${local.platform.tags.called}, of ${local.platform.tags.what}; tags are: ${join(", ", [for key, value in var.tags : "${key}=${value}"])}."
    }

    precondition {
      condition     = length(setintersection(keys(var.tags), local.platform.tags.reserved)) == 0
      error_message = "Databricks sets the tags ${join(", ", setintersection(keys(var.tags), local.platform.tags.reserved))} itself, and a budget would not find yours: give your tags other names."
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
      condition     = !local.single_node || !var.spot
      error_message = "A single-node cluster (workers = 0) has no workers that could be spot, and its only node is on demand: set spot = false."
    }

    precondition {
      condition     = var.instance_profile_arn == null || local.platform_name == "databricks-aws"
      error_message = "instance_profile_arn is for databricks-aws, but the platform is ${local.platform_name}: leave it out."
    }
  }
}

locals {
  attributes = local.pooled ? [] : [{ availability = local.availability, first_on_demand = local.cloud.first_on_demand, zone_id = local.zone, instance_profile_arn = var.instance_profile_arn }]

  definition = {
    spark_version       = var.runtime != null ? var.runtime : local.platform.runtime
    runtime_engine      = "STANDARD" # Photon does not run on GPU nodes
    instance_pool_id    = var.instance_pool_id
    node_type_id        = local.pooled ? null : local.shape.node_type
    driver_node_type_id = local.pooled ? null : local.single_node ? local.shape.node_type : var.driver_node_type != null ? var.driver_node_type : local.platform.driver_node_type
    num_workers         = var.autoscale == null ? local.workers : null
    policy_id           = var.policy_id
    spark_conf          = local.spark_conf
    # With workers, the init script builds no engine's environment on the driver: gigabytes that nothing there uses.
    spark_env_vars = merge({ SPARK_SIDECAR_WORKERS = tostring(var.autoscale == null ? local.workers : var.autoscale.min_workers) }, local.env)
    custom_tags    = merge({ "spark-sidecar" = var.framework }, var.tags, local.single_node ? { ResourceClass = "SingleNode" } : {})

    # Dedicated access mode: GPU runtimes and RDDs need it. The old name, SINGLE_USER, because the new names and `kind` show
    # a change at every plan (databricks/terraform-provider-databricks issues 4360 and 4909). So does a missing user name.
    data_security_mode = "SINGLE_USER"
    single_user_name   = var.single_user_name != null ? var.single_user_name : data.databricks_current_user.this[0].user_name

    # A pool has its own availability and zone; an instance profile is the cluster's.
    aws_attributes   = local.platform_name != "databricks-aws" ? [] : local.pooled && var.instance_profile_arn != null ? [{ availability = null, first_on_demand = null, zone_id = null, instance_profile_arn = var.instance_profile_arn }] : local.attributes
    azure_attributes = local.platform_name == "databricks-azure" ? local.attributes : []
    gcp_attributes   = local.platform_name == "databricks-gcp" ? local.attributes : []
    init_scripts     = var.init_script == null ? [] : [var.init_script]
    log_folder       = var.log_folder
    autoscale        = var.autoscale
    alternatives     = [for each in var.alternative_shapes : local.shapes[each].node_type]
  }
}

resource "databricks_cluster" "this" {
  count = var.create ? 1 : 0

  cluster_name            = var.name
  autotermination_minutes = var.idle_minutes
  spark_version           = local.definition.spark_version
  runtime_engine          = local.definition.runtime_engine
  instance_pool_id        = local.definition.instance_pool_id
  node_type_id            = local.definition.node_type_id
  driver_node_type_id     = local.definition.driver_node_type_id
  num_workers             = local.definition.num_workers
  policy_id               = local.definition.policy_id
  spark_conf              = local.definition.spark_conf
  spark_env_vars          = local.definition.spark_env_vars
  custom_tags             = local.definition.custom_tags
  data_security_mode      = local.definition.data_security_mode
  single_user_name        = local.definition.single_user_name

  dynamic "autoscale" {
    for_each = var.autoscale == null ? [] : [var.autoscale]
    content {
      min_workers = autoscale.value.min_workers
      max_workers = autoscale.value.max_workers
    }
  }

  dynamic "worker_node_type_flexibility" {
    for_each = length(local.definition.alternatives) > 0 ? [local.definition.alternatives] : []
    content {
      alternate_node_type_ids = worker_node_type_flexibility.value
    }
  }

  dynamic "aws_attributes" {
    for_each = local.definition.aws_attributes
    content {
      availability         = aws_attributes.value.availability
      first_on_demand      = aws_attributes.value.first_on_demand
      zone_id              = aws_attributes.value.zone_id
      instance_profile_arn = aws_attributes.value.instance_profile_arn
    }
  }

  dynamic "azure_attributes" {
    for_each = local.definition.azure_attributes
    content {
      availability    = azure_attributes.value.availability
      first_on_demand = azure_attributes.value.first_on_demand
    }
  }

  dynamic "gcp_attributes" {
    for_each = local.definition.gcp_attributes
    content {
      availability    = gcp_attributes.value.availability
      first_on_demand = gcp_attributes.value.first_on_demand
      zone_id         = gcp_attributes.value.zone_id
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

  depends_on = [terraform_data.definition]
}

moved {
  from = databricks_cluster.this
  to   = databricks_cluster.this[0]
}

check "driver" {
  assert {
    condition     = var.driver_node_type == null ? true : contains(local.gpu_node_types, var.driver_node_type)
    error_message = "The driver's node type '${coalesce(var.driver_node_type, "null")}' is not known to have GPUs. Newer runtimes need GPUs on workers only, older ones on the driver too. Known: ${join(", ", local.gpu_node_types)}."
  }
}
