# Everything that depends on shape or framework is looked up in the catalogue, clusters.json; nothing is computed here.
locals {
  catalogue  = jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms
  platform   = local.catalogue["dataproc"]
  shapes     = merge(local.platform.shapes, { for each in module.custom_node : "own" => each.shape })
  shape      = local.shapes[var.node != null ? "own" : var.shape]
  shape_name = var.node != null ? var.node.node_type : var.shape
  image      = var.image != null ? var.image : local.platform.runtime
  defaults   = local.platform.nodes

  single_node  = var.workers == 0
  master       = local.single_node ? local.shape.node_type : var.master_machine_type != null ? var.master_machine_type : local.platform.driver_node_type
  most_workers = local.single_node ? 1 : var.autoscale == null ? var.workers + var.spot_workers : var.autoscale.max_workers + var.autoscale.max_spot_workers
  has_spot     = var.spot_workers > 0 || (var.autoscale != null ? var.autoscale.max_spot_workers > 0 : false)
  accelerator  = var.accelerator_type != null ? var.accelerator_type : local.shape.accelerator
  boot_disk_gb = var.boot_disk_gb != null ? var.boot_disk_gb : local.defaults.boot_disk_gb

  conf           = { for key, value in local.single_node ? local.shape.single_node.conf : local.shape.conf : key => value }
  conf_of_count  = local.platform.worker_count_conf == null ? {} : { (local.platform.worker_count_conf) = tostring(local.most_workers) }
  conf_of_rapids = var.rapids && local.shape.rapids_conf != null ? local.shape.rapids_conf : {}
  spark_conf     = merge(local.conf, local.conf_of_count, local.conf_of_rapids, var.spark_conf)
  env            = merge(local.platform.frameworks[var.framework].env, local.shape.env, var.env)

  properties = merge(
    { for key, value in local.spark_conf : "spark:${key}" => value },
    { for key, value in local.env : "spark:spark.executorEnv.${key}" => value },
    { for key, value in local.single_node ? local.shape.single_node.properties : local.shape.properties : key => value },
    local.single_node ? { "dataproc:dataproc.allow.zero.workers" = "true" } : {}, # gcloud adds it to --single-node
    { for key, value in local.platform.unset_properties : key => value if !contains(keys(local.spark_conf), trimprefix(key, "spark:")) },
    var.properties,
  )

  secure_boot    = var.secure_boot != null ? var.secure_boot : var.driver_init_action == null
  init_actions   = [for each in [var.driver_init_action, var.init_action] : each if each != null]
  secret_address = "://[^/?#\\s:@]*:[^/?#\\s@]+@|(?i:https?)://[^/?#\\s@]+@" # a password or token in it, unlike abfss://container@account
  secret_name    = "(?i)(passw|passphrase|(secret|token|(api|access|private|secret|account|storage)[._-]?key)($|\\.)|azure\\.sas\\.|connection[._-]?string|jaas\\.config)"
}

module "custom_node" {
  source   = "../../custom-node"
  count    = var.node == null ? 0 : 1
  platform = "dataproc"
  node     = var.node
}

resource "google_dataproc_autoscaling_policy" "this" {
  count = var.autoscale == null ? 0 : 1

  project   = var.project
  location  = var.region
  policy_id = var.name

  worker_config {
    min_instances = var.autoscale.min_workers
    max_instances = var.autoscale.max_workers
  }

  secondary_worker_config {
    max_instances = var.autoscale.max_spot_workers
  }

  basic_algorithm {
    cooldown_period = "240s" # a new node takes minutes to load its model: scale again only after that

    yarn_config {
      scale_up_factor               = 1
      scale_down_factor             = 1
      graceful_decommission_timeout = "3600s"
    }
  }
}

# What is checked before anything is made, for a cluster and for a job's own cluster alike.
resource "terraform_data" "definition" {
  input = local.shape.node_type

  lifecycle {
    precondition {
      condition     = local.shape.gpus > 0
      error_message = "The machine type ${local.shape.node_type} of shape ${local.shape_name} has no GPUs: correct the catalogue, server_utils/data/gpus.json."
    }

    precondition {
      condition     = !var.rapids || local.shape.rapids_conf != null
      error_message = "The RAPIDS Accelerator supports one GPU per executor, but ${local.shape_name} has ${local.shape.gpus}: set rapids = false, or choose a shape that ends with x1."
    }

    precondition {
      condition     = !local.shape.spot_only
      error_message = "${local.shape.node_type} (${local.shape_name}) is sold as spot only, and Dataproc's primary workers are never spot: choose another shape."
    }

    precondition {
      condition     = local.shape.documented || var.allow_undocumented
      error_message = "The documents of Dataproc do not name ${local.shape.node_type} (${local.shape_name}), so it may be refused: set allow_undocumented = true to try it, or choose another shape."
    }

    precondition {
      condition     = var.local_ssds == 0 || local.shape.local_ssds == null ? true : contains(local.shape.local_ssds, var.local_ssds)
      error_message = "local_ssds is ${var.local_ssds}, but ${local.shape.node_type} ${try(length(local.shape.local_ssds), 0) == 0 ? "brings its own: leave it out" : "takes 0 or ${join(" or ", local.shape.local_ssds)}: give one of these"}."
    }

    precondition {
      condition     = !local.has_spot || local.accelerator == null
      error_message = "Terraform cannot attach ${coalesce(local.accelerator, "GPUs")} to spot workers: set spot_workers and max_spot_workers to 0, or choose a shape whose machine type has GPUs of its own, such as l4x1."
    }

    precondition {
      condition     = local.platform.runtimes[local.image].cuda != null || var.driver_init_action != null
      error_message = "The image ${local.image} has no GPU driver: leave image out, or set driver_init_action to your copy of Google's install_gpu_driver.sh."
    }

    precondition {
      condition     = var.driver_init_action == null || !local.secure_boot
      error_message = "The driver that driver_init_action builds is not signed, and does not load with secure_boot = true: leave secure_boot out, or choose an image that has the driver."
    }

    precondition {
      condition     = !local.single_node || (var.autoscale == null && var.spot_workers == 0 && var.master_machine_type == null)
      error_message = "A single-node cluster (workers = 0) has no separate master and no workers: leave autoscale, spot_workers and master_machine_type out."
    }

    precondition {
      condition     = !local.single_node || var.node == null ? true : var.node.ram_gib >= 16
      error_message = "ram_gib of ${local.shape.node_type} is ${try(var.node.ram_gib, 0)}, which leaves YARN no memory for an executor beside the master's: take a node with 16 GiB or more, or workers."
    }

    precondition {
      condition     = var.autoscale == null ? true : var.workers >= var.autoscale.min_workers && var.workers <= var.autoscale.max_workers && var.spot_workers <= var.autoscale.max_spot_workers
      error_message = "Autoscaling starts with workers and spot_workers (${var.workers} and ${var.spot_workers}): they must be within the bounds of autoscale."
    }
  }
}

locals {
  gpus = local.accelerator == null ? [] : [{ type = local.accelerator, count = local.shape.gpus }]

  # The cluster, whoever makes it: this module, or a workflow template of the module dataproc-job at each of its runs.
  definition = {
    project             = var.project
    region              = var.region
    name                = var.name
    labels              = merge({ spark-sidecar = var.framework }, var.labels)
    staging_bucket      = var.staging_bucket
    zone                = var.zone
    subnetwork          = var.subnetwork
    internal_ip_only    = var.internal_ip_only
    network_tags        = var.network_tags
    metadata            = merge({ framework = var.framework }, var.metadata)
    service_account     = var.service_account
    scopes              = ["https://www.googleapis.com/auth/cloud-platform"] # with an alias, every apply replaces the cluster
    secure_boot         = local.secure_boot
    disk                = { size_gb = local.boot_disk_gb, type = local.defaults.boot_disk_type }
    master              = { count = 1, machine_type = local.master, local_ssds = local.single_node ? var.local_ssds : 0, gpus = local.single_node ? local.gpus : [] }
    workers             = { count = var.workers, machine_type = local.shape.node_type, local_ssds = var.local_ssds, gpus = local.single_node ? [] : local.gpus }
    spot_workers        = local.has_spot ? [{ count = var.spot_workers, preemptibility = local.defaults.spot, local_ssds = var.local_ssds }] : []
    image               = local.image
    optional_components = concat(local.defaults.optional_components, local.platform.frameworks[var.framework].optional_components)
    properties          = local.properties
    init_actions        = local.init_actions
    init_timeout_s      = var.init_timeout_s != null ? var.init_timeout_s : local.defaults.init_timeout_s
    autoscaling_policy  = google_dataproc_autoscaling_policy.this[*].name
    kms_key             = var.kms_key == null ? [] : [var.kms_key]
    component_gateway   = var.component_gateway
  }
}

resource "google_dataproc_cluster" "this" {
  count = var.create ? 1 : 0

  project                       = var.project
  region                        = var.region
  name                          = local.definition.name
  labels                        = local.definition.labels
  graceful_decommission_timeout = "600s"

  cluster_config {
    staging_bucket = local.definition.staging_bucket

    gce_cluster_config {
      zone                   = local.definition.zone
      subnetwork             = local.definition.subnetwork
      internal_ip_only       = local.definition.internal_ip_only
      tags                   = local.definition.network_tags
      metadata               = local.definition.metadata
      service_account        = local.definition.service_account
      service_account_scopes = local.definition.scopes

      shielded_instance_config {
        enable_secure_boot          = local.definition.secure_boot
        enable_vtpm                 = true
        enable_integrity_monitoring = true
      }
    }

    master_config {
      num_instances = local.definition.master.count
      machine_type  = local.definition.master.machine_type

      disk_config {
        boot_disk_size_gb   = local.definition.disk.size_gb
        boot_disk_type      = local.definition.disk.type
        num_local_ssds      = local.definition.master.local_ssds
        local_ssd_interface = local.definition.master.local_ssds > 0 ? "nvme" : null
      }

      dynamic "accelerators" {
        for_each = local.definition.master.gpus
        content {
          accelerator_type  = accelerators.value.type
          accelerator_count = accelerators.value.count
        }
      }
    }

    worker_config {
      num_instances = local.definition.workers.count
      machine_type  = local.definition.workers.machine_type

      disk_config {
        boot_disk_size_gb   = local.definition.disk.size_gb
        boot_disk_type      = local.definition.disk.type
        num_local_ssds      = local.definition.workers.local_ssds
        local_ssd_interface = local.definition.workers.local_ssds > 0 ? "nvme" : null
      }

      dynamic "accelerators" {
        for_each = local.definition.workers.gpus
        content {
          accelerator_type  = accelerators.value.type
          accelerator_count = accelerators.value.count
        }
      }
    }

    dynamic "preemptible_worker_config" {
      for_each = local.definition.spot_workers
      content {
        num_instances  = preemptible_worker_config.value.count
        preemptibility = preemptible_worker_config.value.preemptibility

        disk_config {
          boot_disk_size_gb   = local.definition.disk.size_gb
          boot_disk_type      = local.definition.disk.type
          num_local_ssds      = preemptible_worker_config.value.local_ssds
          local_ssd_interface = preemptible_worker_config.value.local_ssds > 0 ? "nvme" : null
        }
      }
    }

    software_config {
      image_version       = local.definition.image
      optional_components = local.definition.optional_components
      override_properties = local.definition.properties
    }

    dynamic "initialization_action" {
      for_each = local.definition.init_actions
      content {
        script      = initialization_action.value
        timeout_sec = local.definition.init_timeout_s
      }
    }

    dynamic "autoscaling_config" {
      for_each = local.definition.autoscaling_policy
      content {
        policy_uri = autoscaling_config.value
      }
    }

    dynamic "encryption_config" {
      for_each = local.definition.kms_key
      content {
        kms_key_name = encryption_config.value
      }
    }

    dynamic "lifecycle_config" {
      for_each = var.idle_delete_minutes == null ? [] : [var.idle_delete_minutes]
      content {
        idle_delete_ttl = "${lifecycle_config.value * 60}s"
      }
    }

    endpoint_config {
      enable_http_port_access = local.definition.component_gateway
    }
  }

  timeouts {
    create = "60m" # two init actions of up to half an hour each
    update = "60m"
  }

  depends_on = [terraform_data.definition]
}

moved {
  from = google_dataproc_cluster.this
  to   = google_dataproc_cluster.this[0]
}
