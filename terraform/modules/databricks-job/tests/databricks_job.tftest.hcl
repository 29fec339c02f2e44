mock_provider "databricks" {}

variables {
  name       = "nightly"
  cluster_id = "0123-456789-abc"
  notebook   = "/Shared/kit/embeddings"
}

run "created" {
  command = apply

  assert {
    condition     = one(databricks_job.this.task).existing_cluster_id == "0123-456789-abc" && databricks_job.this.timeout_seconds == 7200
    error_message = "it runs on the cluster, for two hours at most"
  }
}

run "no_name" {
  command = plan

  variables {
    name = ""
  }

  expect_failures = [var.name]
}

run "no_cluster" {
  command = plan

  variables {
    cluster_id = ""
  }

  expect_failures = [var.cluster_id]
}

run "a_file_for_a_notebook" {
  command = plan

  variables {
    notebook = "/Shared/kit/embeddings.ipynb"
  }

  expect_failures = [var.notebook]
}

run "negative_time" {
  command = plan

  variables {
    timeout_minutes = -1
  }

  expect_failures = [var.timeout_minutes]
}

run "a_cluster_of_its_own_on_a_schedule" {
  command = plan

  variables {
    cluster_id  = null
    new_cluster = { spark_version = "17.3.x-gpu-ml-scala2.13", runtime_engine = "STANDARD", instance_pool_id = null, node_type_id = "g5.xlarge", driver_node_type_id = "g5.xlarge", num_workers = 0, policy_id = null, spark_conf = { "spark.master" = "local[*]", "spark.databricks.cluster.profile" = "singleNode" }, spark_env_vars = {}, custom_tags = { ResourceClass = "SingleNode" }, data_security_mode = "SINGLE_USER", single_user_name = "me@example.com", aws_attributes = [{ availability = "ON_DEMAND", first_on_demand = 1, zone_id = "auto", instance_profile_arn = null }], azure_attributes = [], gcp_attributes = [], init_scripts = ["/Volumes/a/b/c/d.sh"], log_folder = null, autoscale = null, alternatives = ["g6.xlarge"] }
    run_as      = "0123abcd-0000-1111-2222-0123456789ab"
    schedule    = { cron = "0 0 3 * * ?" }
    retries     = 2
    notify      = ["me@example.com"]
  }

  assert {
    condition     = one(one(databricks_job.this.job_cluster).new_cluster).node_type_id == "g5.xlarge" && one(databricks_job.this.task).job_cluster_key == "gpu"
    error_message = "the notebook runs on the job's own cluster"
  }

  assert {
    condition     = one(one(one(databricks_job.this.job_cluster).new_cluster).worker_node_type_flexibility).alternate_node_type_ids == tolist(["g6.xlarge"])
    error_message = "the node types that may be used instead"
  }

  assert {
    condition     = one(one(databricks_job.this.job_cluster).new_cluster).single_user_name == "0123abcd-0000-1111-2222-0123456789ab" && one(databricks_job.this.run_as).service_principal_name == "0123abcd-0000-1111-2222-0123456789ab"
    error_message = "the cluster is dedicated to whom the job runs as"
  }

  assert {
    condition     = one(databricks_job.this.schedule).timezone_id == "UTC" && one(databricks_job.this.task).max_retries == 2 && one(databricks_job.this.email_notifications).on_failure == tolist(["me@example.com"])
    error_message = "schedule, retries and notifications"
  }
}

run "no_cluster_at_all" {
  command = plan

  variables {
    cluster_id = null
  }

  expect_failures = [databricks_job.this]
}

run "not_a_definition" {
  command = plan

  variables {
    cluster_id  = null
    new_cluster = { node = "x" }
  }

  expect_failures = [var.new_cluster]
}

run "a_name_to_run_as" {
  command = plan

  variables {
    run_as = "my principal"
  }

  expect_failures = [var.run_as]
}

run "a_cron_of_unix" {
  command = plan

  variables {
    schedule = { cron = "0 3 * * *" }
  }

  expect_failures = [var.schedule]
}

run "half_a_retry" {
  command = plan

  variables {
    retries = 0.5
  }

  expect_failures = [var.retries]
}

run "a_name_to_notify" {
  command = plan

  variables {
    notify = ["me"]
  }

  expect_failures = [var.notify]
}

run "a_usage_policy_by_its_name" {
  command = plan

  variables {
    usage_policy_id = "research"
  }

  expect_failures = [var.usage_policy_id]
}

run "too_many_tags" {
  command = plan

  variables {
    tags = { for each in range(25) : "t${each}" => "x" }
  }

  expect_failures = [var.tags]
}

run "a_usage_policy" {
  command = plan

  variables {
    usage_policy_id = "0123abcd-0000-1111-2222-0123456789ab"
    tags            = { cost-centre = "research" }
  }

  assert {
    condition     = databricks_job.this.usage_policy_id == "0123abcd-0000-1111-2222-0123456789ab" && databricks_job.this.tags["cost-centre"] == "research"
    error_message = "whom the job is counted for"
  }
}
