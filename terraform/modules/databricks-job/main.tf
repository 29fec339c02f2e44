resource "databricks_job" "this" {
  name                = var.name
  max_concurrent_runs = 1 # two runs would share the cluster's servers
  timeout_seconds     = var.timeout_minutes * 60
  tags                = merge({ "spark-sidecar" = "job" }, var.tags)
  usage_policy_id     = var.usage_policy_id

  task {
    task_key                  = "notebook"
    existing_cluster_id       = var.cluster_id
    job_cluster_key           = local.own_cluster ? "gpu" : null
    max_retries               = var.retries
    min_retry_interval_millis = var.retries > 0 ? 60000 : null
    retry_on_timeout          = false

    notebook_task {
      notebook_path   = var.notebook
      base_parameters = var.parameters
    }
  }

  dynamic "job_cluster" {
    for_each = local.own_cluster ? [var.new_cluster] : []
    content {
      job_cluster_key = "gpu"

      new_cluster {
        spark_version       = job_cluster.value.spark_version
        node_type_id        = job_cluster.value.node_type_id
        driver_node_type_id = job_cluster.value.driver_node_type_id
        instance_pool_id    = job_cluster.value.instance_pool_id
        num_workers         = job_cluster.value.num_workers
        policy_id           = job_cluster.value.policy_id
        runtime_engine      = job_cluster.value.runtime_engine
        data_security_mode  = job_cluster.value.data_security_mode
        single_user_name    = local.runs_as
        spark_conf          = job_cluster.value.spark_conf
        spark_env_vars      = job_cluster.value.spark_env_vars
        custom_tags         = job_cluster.value.custom_tags

        dynamic "autoscale" {
          for_each = job_cluster.value.autoscale == null ? [] : [job_cluster.value.autoscale]
          content {
            min_workers = autoscale.value.min_workers
            max_workers = autoscale.value.max_workers
          }
        }

        dynamic "worker_node_type_flexibility" {
          for_each = length(job_cluster.value.alternatives) > 0 ? [job_cluster.value.alternatives] : []
          content {
            alternate_node_type_ids = worker_node_type_flexibility.value
          }
        }

        dynamic "aws_attributes" {
          for_each = job_cluster.value.aws_attributes
          content {
            availability         = aws_attributes.value.availability
            first_on_demand      = aws_attributes.value.first_on_demand
            zone_id              = aws_attributes.value.zone_id
            instance_profile_arn = aws_attributes.value.instance_profile_arn
          }
        }

        dynamic "azure_attributes" {
          for_each = job_cluster.value.azure_attributes
          content {
            availability    = azure_attributes.value.availability
            first_on_demand = azure_attributes.value.first_on_demand
          }
        }

        dynamic "gcp_attributes" {
          for_each = job_cluster.value.gcp_attributes
          content {
            availability    = gcp_attributes.value.availability
            first_on_demand = gcp_attributes.value.first_on_demand
            zone_id         = gcp_attributes.value.zone_id
          }
        }

        dynamic "init_scripts" {
          for_each = job_cluster.value.init_scripts
          content {
            volumes {
              destination = init_scripts.value
            }
          }
        }

        dynamic "cluster_log_conf" {
          for_each = job_cluster.value.log_folder == null ? [] : [job_cluster.value.log_folder]
          content {
            volumes {
              destination = cluster_log_conf.value
            }
          }
        }
      }
    }
  }

  dynamic "schedule" {
    for_each = var.schedule == null ? [] : [var.schedule]
    content {
      quartz_cron_expression = schedule.value.cron
      timezone_id            = schedule.value.timezone
      pause_status           = schedule.value.paused ? "PAUSED" : "UNPAUSED"
    }
  }

  dynamic "run_as" {
    for_each = var.run_as == null ? [] : [var.run_as]
    content {
      user_name              = strcontains(run_as.value, "@") ? run_as.value : null
      service_principal_name = strcontains(run_as.value, "@") ? null : run_as.value
    }
  }

  dynamic "email_notifications" {
    for_each = length(var.notify) > 0 ? [var.notify] : []
    content {
      on_failure = email_notifications.value
    }
  }

  lifecycle {
    precondition {
      condition     = (var.cluster_id == null) != (var.new_cluster == null)
      error_message = var.cluster_id == null ? "The job has no cluster: set new_cluster to the output job_cluster of the module databricks (cheaper), or cluster_id to a cluster that exists." : "cluster_id and new_cluster both name a cluster: leave one out."
    }
  }
}

locals {
  own_cluster = var.new_cluster != null
  # A job's cluster belongs to whom the job runs as.
  runs_as = var.run_as != null ? var.run_as : local.own_cluster ? var.new_cluster.single_user_name : null
}
