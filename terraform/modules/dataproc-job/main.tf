locals {
  # Dataproc puts the labels of a template on the jobs and the cluster that it makes: so both have the same ones.
  labels  = merge({ spark-sidecar = "job" }, try(var.new_cluster.labels, {}), var.labels)
  timeout = var.timeout_minutes != null ? var.timeout_minutes : var.new_cluster == null ? 0 : 120
}

# A template costs nothing and runs when it is instantiated, like a job on Databricks. A google_dataproc_job would run once,
# at apply.
resource "google_dataproc_workflow_template" "this" {
  project     = var.project
  location    = var.region
  name        = var.name
  labels      = local.labels
  dag_timeout = local.timeout == 0 ? null : "${local.timeout * 60}s"

  placement {
    dynamic "cluster_selector" {
      for_each = var.cluster == null ? [] : [var.cluster]
      content {
        cluster_labels = { goog-dataproc-cluster-name = cluster_selector.value }
      }
    }

    # Dataproc makes the cluster at each run, and deletes it when the run ends, also one that failed or took too long.
    dynamic "managed_cluster" {
      for_each = var.new_cluster == null ? [] : [var.new_cluster]
      content {
        cluster_name = managed_cluster.value.name # Dataproc adds letters, so that two runs have two clusters
        labels       = local.labels

        config {
          staging_bucket = managed_cluster.value.staging_bucket

          gce_cluster_config {
            zone                   = managed_cluster.value.zone
            subnetwork             = managed_cluster.value.subnetwork
            internal_ip_only       = managed_cluster.value.internal_ip_only
            tags                   = managed_cluster.value.network_tags
            metadata               = managed_cluster.value.metadata
            service_account        = managed_cluster.value.service_account
            service_account_scopes = managed_cluster.value.scopes

            shielded_instance_config {
              enable_secure_boot          = managed_cluster.value.secure_boot
              enable_vtpm                 = true
              enable_integrity_monitoring = true
            }
          }

          master_config {
            num_instances = managed_cluster.value.master.count
            machine_type  = managed_cluster.value.master.machine_type

            disk_config {
              boot_disk_size_gb = managed_cluster.value.disk.size_gb
              boot_disk_type    = managed_cluster.value.disk.type
            }

            dynamic "accelerators" {
              for_each = managed_cluster.value.master.gpus
              content {
                accelerator_type  = accelerators.value.type
                accelerator_count = accelerators.value.count
              }
            }
          }

          # As gcloud does: a single node has no workers at all, and a property that allows it.
          dynamic "worker_config" {
            for_each = managed_cluster.value.workers.count == 0 ? [] : [managed_cluster.value.workers]
            content {
              num_instances = worker_config.value.count
              machine_type  = worker_config.value.machine_type

              disk_config {
                boot_disk_size_gb = managed_cluster.value.disk.size_gb
                boot_disk_type    = managed_cluster.value.disk.type
              }

              dynamic "accelerators" {
                for_each = worker_config.value.gpus
                content {
                  accelerator_type  = accelerators.value.type
                  accelerator_count = accelerators.value.count
                }
              }
            }
          }

          dynamic "secondary_worker_config" {
            for_each = managed_cluster.value.spot_workers
            content {
              num_instances  = secondary_worker_config.value.count
              preemptibility = secondary_worker_config.value.preemptibility

              disk_config {
                boot_disk_size_gb = managed_cluster.value.disk.size_gb
                boot_disk_type    = managed_cluster.value.disk.type
              }
            }
          }

          software_config {
            image_version       = managed_cluster.value.image
            optional_components = managed_cluster.value.optional_components
            properties          = managed_cluster.value.properties
          }

          dynamic "initialization_actions" {
            for_each = managed_cluster.value.init_actions
            content {
              executable_file   = initialization_actions.value
              execution_timeout = "${managed_cluster.value.init_timeout_s}s"
            }
          }

          dynamic "autoscaling_config" {
            for_each = managed_cluster.value.autoscaling_policy
            content {
              policy = autoscaling_config.value
            }
          }

          dynamic "encryption_config" {
            for_each = managed_cluster.value.kms_key
            content {
              gce_pd_kms_key_name = encryption_config.value
            }
          }

          endpoint_config {
            enable_http_port_access = managed_cluster.value.component_gateway
          }
        }
      }
    }
  }

  jobs {
    step_id = "notebook"
    labels  = var.labels

    pyspark_job {
      main_python_file_uri = var.program
      args                 = var.args
    }

    dynamic "scheduling" {
      for_each = var.retries == 0 ? [] : [var.retries]
      content {
        max_failures_per_hour = scheduling.value
        max_failures_total    = scheduling.value
      }
    }
  }

  lifecycle {
    precondition {
      condition     = (var.cluster == null) != (var.new_cluster == null)
      error_message = var.cluster == null ? "The job has no cluster: set new_cluster to the output job_cluster of the module dataproc (cheaper), or cluster to the name of one that exists." : "cluster and new_cluster both name a cluster: leave one out."
    }

    # The provider's version 6.50 cannot say NVMe here, and without it the disks are SCSI, which GPU machines do not take.
    precondition {
      condition     = try(var.new_cluster.master.local_ssds + var.new_cluster.workers.local_ssds, 0) == 0
      error_message = "The job's own cluster has local_ssds, which a workflow template cannot attach as NVMe: leave local_ssds out, or choose a shape whose machine brings its own."
    }

    precondition {
      condition     = var.new_cluster == null ? true : length(try(var.new_cluster.name, "")) <= 35
      error_message = "The name of the job's own cluster is '${try(var.new_cluster.name, "")}', of ${length(try(var.new_cluster.name, ""))} letters, and Dataproc adds some: give name of the module dataproc at most 35."
    }

    precondition {
      condition     = var.new_cluster == null ? true : try(var.new_cluster.project, null) == var.project && try(var.new_cluster.region, null) == var.region
      error_message = "The job is in ${var.project}, ${var.region}, and its cluster's definition in ${try("${var.new_cluster.project}, ${var.new_cluster.region}", "none")}: give both the same project and region."
    }
  }
}

resource "google_cloud_scheduler_job" "this" {
  count = var.schedule == null ? 0 : 1

  project   = var.project
  region    = var.region
  name      = var.name
  schedule  = var.schedule.cron
  time_zone = var.schedule.timezone
  paused    = var.schedule.paused

  http_target {
    http_method = "POST"
    uri         = "https://dataproc.googleapis.com/v1/projects/${var.project}/regions/${var.region}/workflowTemplates/${google_dataproc_workflow_template.this.name}:instantiate"
    headers     = { "Content-Type" = "application/json" }
    # Of the runs with one id, Dataproc lets one go on at a time: the schedule starts none beside its last one.
    body = base64encode(jsonencode({ requestId = sha1(var.name) }))

    oauth_token {
      service_account_email = var.schedule.service_account
    }
  }
}
