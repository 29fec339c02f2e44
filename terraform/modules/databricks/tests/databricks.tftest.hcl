mock_provider "databricks" {
  mock_data "databricks_current_config" {
    defaults = { cloud_type = "gcp" }
  }
  mock_data "databricks_current_user" {
    defaults = { user_name = "someone@example.com", home = "/Users/someone@example.com" }
  }
}

variables {
  platform  = "databricks-aws"
  shape     = "a10x1"
  framework = "vllm"
}

run "defaults" {
  command = plan

  assert {
    condition     = databricks_cluster.this[0].node_type_id == "g5.4xlarge" && databricks_cluster.this[0].num_workers == 2
    error_message = "a10x1 on AWS is g5.4xlarge, and there are two workers"
  }

  assert {
    condition     = databricks_cluster.this[0].spark_env_vars["FRAMEWORK"] == "vllm"
    error_message = "the framework is a variable of the cluster"
  }

  assert {
    condition     = databricks_cluster.this[0].single_user_name == "someone@example.com" && databricks_cluster.this[0].data_security_mode == "SINGLE_USER"
    error_message = "the cluster is dedicated to the user that runs Terraform"
  }

  assert {
    condition     = one(databricks_cluster.this[0].aws_attributes).availability == "ON_DEMAND"
    error_message = "workers are on demand by default"
  }
}

run "created" {
  command = apply

  assert {
    condition     = output.node_type == "g5.4xlarge" && output.gpus_per_node == 1 && output.platform == "databricks-aws"
    error_message = "the outputs have the values of the catalogue"
  }
}

run "the_workspace_is_asked_for_its_cloud" {
  command = plan

  variables {
    platform = null
    shape    = "l4x2"
  }

  assert {
    condition     = output.platform == "databricks-gcp" && output.node_type == "g2-standard-24"
    error_message = "the cloud is the workspace's"
  }
}

run "tensor_parallel" {
  command = plan

  variables {
    shape = "a10x4"
  }

  assert {
    condition     = databricks_cluster.this[0].spark_conf["spark.executor.resource.gpu.amount"] == "4" && output.gpus_per_node == 4
    error_message = "the one executor of a node has all its GPUs"
  }
}

run "single_node" {
  command = plan

  variables {
    workers = 0
  }

  assert {
    condition     = databricks_cluster.this[0].spark_conf["spark.databricks.cluster.profile"] == "singleNode" && databricks_cluster.this[0].custom_tags["ResourceClass"] == "SingleNode"
    error_message = "the settings and the tag of a single-node cluster"
  }

  assert {
    condition     = databricks_cluster.this[0].driver_node_type_id == databricks_cluster.this[0].node_type_id
    error_message = "the only node has the shape"
  }

  assert {
    condition     = databricks_cluster.this[0].spark_env_vars["SPARK_SIDECAR_WORKERS"] == "0"
    error_message = "the only node is told that it runs the servers"
  }

  assert {
    condition     = !contains(keys(databricks_cluster.this[0].spark_conf), "spark.task.resource.gpu.amount")
    error_message = "in local mode no executor or task requests GPUs"
  }
}

run "autoscaling" {
  command = plan

  variables {
    autoscale = { min_workers = 1, max_workers = 4 }
  }

  assert {
    condition     = one(databricks_cluster.this[0].autoscale).max_workers == 4 && databricks_cluster.this[0].num_workers == null
    error_message = "autoscaling decides the number of workers"
  }

  assert {
    condition     = databricks_cluster.this[0].spark_env_vars["SPARK_SIDECAR_WORKERS"] == "1"
    error_message = "the nodes are told the smallest number of workers"
  }
}

run "spot" {
  command = plan

  variables {
    spot = true
  }

  assert {
    condition     = one(databricks_cluster.this[0].aws_attributes).availability == "SPOT_WITH_FALLBACK" && one(databricks_cluster.this[0].aws_attributes).first_on_demand == 1
    error_message = "spot workers, and a driver on demand"
  }
}

run "alternatives" {
  command = plan

  variables {
    alternative_shapes = ["l4x1"]
  }

  assert {
    condition     = one(databricks_cluster.this[0].worker_node_type_flexibility).alternate_node_type_ids == tolist(["g6.4xlarge"])
    error_message = "alternatives are node types"
  }
}

run "pool" {
  command = plan

  variables {
    instance_pool_id = "pool-1"
  }

  assert {
    condition     = databricks_cluster.this[0].instance_pool_id == "pool-1" && length(databricks_cluster.this[0].aws_attributes) == 0
    error_message = "the pool decides node types and availability"
  }
}

run "rapids" {
  command = plan

  variables {
    rapids = true
  }

  assert {
    condition     = databricks_cluster.this[0].spark_conf["spark.plugins"] == "com.nvidia.spark.SQLPlugin"
    error_message = "the plugin is on"
  }
}

run "overrides_come_last" {
  command = plan

  variables {
    spark_conf = { "spark.executor.memory" = "1g" }
    env        = { FRAMEWORK = "triton" }
  }

  assert {
    condition     = databricks_cluster.this[0].spark_conf["spark.executor.memory"] == "1g" && databricks_cluster.this[0].spark_env_vars["FRAMEWORK"] == "triton"
    error_message = "the user's values replace the recommended ones"
  }
}

run "secrets_by_reference" {
  command = plan

  variables {
    env = { HF_TOKEN = "{{secrets/scope/key}}" }
  }
}

run "an_unknown_shape" {
  command = plan

  variables {
    shape = "a10x3"
  }

  expect_failures = [var.shape]
}

run "an_unknown_framework" {
  command = plan

  variables {
    framework = "onnx"
  }

  expect_failures = [var.framework]
}

run "a_framework_that_databricks_cannot_run" {
  command = plan

  variables {
    framework = "nim"
  }

  expect_failures = [var.framework]
}

run "negative_workers" {
  command = plan

  variables {
    workers = -1
  }

  expect_failures = [var.workers]
}

run "an_unknown_platform" {
  command = plan

  variables {
    platform = "databricks-ibm"
  }

  expect_failures = [var.platform]
}

run "an_empty_name" {
  command = plan

  variables {
    name = " "
  }

  expect_failures = [var.name]
}

run "a_cpu_runtime" {
  command = plan

  variables {
    runtime = "17.3.x-scala2.13"
  }

  expect_failures = [var.runtime]
}

run "a_driver_that_is_no_node_type" {
  command = plan

  variables {
    driver_node_type = "m5 xlarge"
  }

  expect_failures = [var.driver_node_type]
}

run "unknown_alternatives" {
  command = plan

  variables {
    alternative_shapes = ["v100x1"]
  }

  expect_failures = [var.alternative_shapes]
}

run "bounds_turned_round" {
  command = plan

  variables {
    autoscale = { min_workers = 4, max_workers = 1 }
  }

  expect_failures = [var.autoscale]
}

run "a_conf_that_is_none" {
  command = plan

  variables {
    spark_conf = { "yarn.x" = "1" }
  }

  expect_failures = [var.spark_conf]
}

run "a_secret_in_the_conf" {
  command = plan

  variables {
    spark_conf = { "spark.hadoop.fs.s3a.secret.key" = "hunter2" }
  }

  expect_failures = [var.spark_conf]
}

run "an_env_that_is_none" {
  command = plan

  variables {
    env = { "spark.x" = "1" }
  }

  expect_failures = [var.env]
}

run "a_secret_in_the_env" {
  command = plan

  variables {
    env = { HF_TOKEN = "hf_x" }
  }

  expect_failures = [var.env]
}

run "an_init_script_elsewhere" {
  command = plan

  variables {
    init_script = "dbfs:/init.sh"
  }

  expect_failures = [var.init_script]
}

run "logs_elsewhere" {
  command = plan

  variables {
    log_folder = "dbfs:/logs"
  }

  expect_failures = [var.log_folder]
}

run "a_pool_and_spot" {
  command = plan

  variables {
    instance_pool_id = "pool-1"
    spot             = true
  }

  expect_failures = [var.instance_pool_id]
}

run "not_a_profile" {
  command = plan

  variables {
    instance_profile_arn = "my-profile"
  }

  expect_failures = [var.instance_profile_arn]
}

run "too_little_idleness" {
  command = plan

  variables {
    idle_minutes = 5
  }

  expect_failures = [var.idle_minutes]
}

run "a_tag_of_databricks" {
  command = plan

  variables {
    tags = { ResourceClass = "x" }
  }

  expect_failures = [var.tags]
}

run "rapids_with_several_gpus" {
  command = plan

  variables {
    shape  = "a10x4"
    rapids = true
  }

  expect_failures = [terraform_data.definition]
}

run "alternatives_with_fewer_gpus" {
  command = plan

  variables {
    shape              = "a10x4"
    alternative_shapes = ["l4x1"]
  }

  expect_failures = [terraform_data.definition]
}

run "workers_and_autoscale" {
  command = plan

  variables {
    workers   = 3
    autoscale = { min_workers = 1, max_workers = 4 }
  }

  expect_failures = [terraform_data.definition]
}

run "a_single_node_with_a_driver" {
  command = plan

  variables {
    workers          = 0
    driver_node_type = "g5.4xlarge"
  }

  expect_failures = [terraform_data.definition]
}

run "a_single_node_on_spot" {
  command = plan

  variables {
    workers = 0
    spot    = true
  }

  expect_failures = [terraform_data.definition]
}

run "a_profile_elsewhere" {
  command = plan

  variables {
    platform             = "databricks-azure"
    instance_profile_arn = "arn:aws:iam::123456789012:instance-profile/x"
  }

  expect_failures = [terraform_data.definition]
}

run "names_and_values_that_only_look_secret" {
  command = plan

  variables {
    env        = { TOKENIZERS_PARALLELISM = "false", AWS_ACCESS_KEY_ID = "AKIA", GOOGLE_APPLICATION_CREDENTIALS = "/k.json", HTTPS_PROXY = "http://proxy:3128" }
    spark_conf = { "spark.security.credentials.hive.enabled" = "false", "spark.x" = "abfss://container@account.dfs.core.windows.net/x" }
  }
}

run "a_password_in_an_address_in_the_env" {
  command = plan

  variables {
    env = { UV_DEFAULT_INDEX = "https://me:hunter2@index.example/simple" }
  }

  expect_failures = [var.env]
}

run "a_token_in_an_address_in_the_conf" {
  command = plan

  variables {
    spark_conf = { "spark.x" = "https://hunter2@host/x" }
  }

  expect_failures = [var.spark_conf]
}

run "an_account_key_in_the_conf" {
  command = plan

  variables {
    spark_conf = { "spark.hadoop.fs.azure.account.key.mine.dfs.core.windows.net" = "x" }
  }

  expect_failures = [var.spark_conf]
}

run "a_key_of_a_service_in_the_env" {
  command = plan

  variables {
    env = { OPENAI_API_KEY = "sk-x" }
  }

  expect_failures = [var.env]
}

run "a_driver_without_gpu_is_warned_about" {
  command = plan

  variables {
    driver_node_type = "m5.xlarge"
  }

  expect_failures = [check.driver]
}

run "a_node_of_ones_own" {
  command = plan

  variables {
    shape = null
    node  = { node_type = "g9.huge", gpus = 2, vcpus = 32, ram_gib = 256, gpu_memory_gib = 48 }
  }

  assert {
    condition     = databricks_cluster.this[0].node_type_id == "g9.huge" && databricks_cluster.this[0].spark_conf["spark.executor.resource.gpu.amount"] == "2"
    error_message = "the node that was described"
  }
}

run "a_node_and_a_shape" {
  command = plan

  variables {
    node = { node_type = "g9.huge", gpus = 2, vcpus = 32, ram_gib = 256, gpu_memory_gib = 48 }
  }

  expect_failures = [var.shape]
}

run "neither_a_node_nor_a_shape" {
  command = plan

  variables {
    shape = null
  }

  expect_failures = [var.shape]
}

run "a_node_with_three_gpus" {
  command = plan

  variables {
    shape = null
    node  = { node_type = "g9.huge", gpus = 3, vcpus = 32, ram_gib = 256, gpu_memory_gib = 48 }
  }

  expect_failures = [var.node]
}

run "an_alternative_with_other_disks" {
  command = plan

  variables {
    shape              = "a10x4"
    alternative_shapes = ["l4x4"]
  }

  expect_failures = [terraform_data.definition]
}

run "spot_only" {
  command = plan

  variables {
    platform = "databricks-gcp"
    shape    = "h100x1"
  }

  expect_failures = [terraform_data.definition]
}

run "spot_only_on_spot" {
  command = plan

  variables {
    platform = "databricks-gcp"
    shape    = "h100x1"
    spot     = true
  }

  assert {
    condition     = one(databricks_cluster.this[0].gcp_attributes).availability == "PREEMPTIBLE_WITH_FALLBACK_GCP"
    error_message = "spot where nothing else is sold"
  }
}

run "an_undocumented_node_type" {
  command = plan

  variables {
    shape = "h100x1"
  }

  expect_failures = [terraform_data.definition]
}

run "an_undocumented_node_type_when_allowed" {
  command = plan

  variables {
    shape              = "h100x1"
    allow_undocumented = true
  }

  assert {
    condition     = databricks_cluster.this[0].node_type_id == "p5.4xlarge"
    error_message = "taken when asked for"
  }
}

run "a_zone" {
  command = plan

  variables {
    zone = "us-east-1a"
  }

  assert {
    condition     = one(databricks_cluster.this[0].aws_attributes).zone_id == "us-east-1a"
    error_message = "the zone that was asked for"
  }
}

run "a_region_for_a_zone" {
  command = plan

  variables {
    zone = "us-east-1"
  }

  expect_failures = [var.zone]
}

run "a_zone_of_another_cloud" {
  command = plan

  variables {
    zone = "us-central1-a"
  }

  expect_failures = [terraform_data.definition]
}

run "a_tag_that_is_no_label" {
  command = plan

  variables {
    platform = "databricks-gcp"
    shape    = "l4x1"
    tags     = { Team = "a" }
  }

  expect_failures = [terraform_data.definition]
}

run "a_zone_on_azure" {
  command = plan

  variables {
    platform = "databricks-azure"
    shape    = "t4x1-small"
    zone     = "us-east-1a"
  }

  expect_failures = [terraform_data.definition]
}

run "bounds_that_are_equal" {
  command = plan

  variables {
    autoscale = { min_workers = 2, max_workers = 2 }
  }

  expect_failures = [var.autoscale]
}

run "slices_of_gpus" {
  command = plan

  variables {
    platform = "databricks-azure"
    shape    = "a10x2"
  }

  assert {
    condition     = databricks_cluster.this[0].spark_env_vars["NCCL_P2P_DISABLE"] == "1"
    error_message = "GPUs of a vGPU node have no peer access"
  }
}

run "only_a_definition" {
  command = plan

  variables {
    create             = false
    spot               = true
    init_script        = "/Volumes/a/b/c/d.sh"
    alternative_shapes = ["l4x1"]
  }

  assert {
    condition     = length(databricks_cluster.this) == 0 && output.cluster_id == null
    error_message = "a cluster that nobody asked for"
  }

  assert {
    condition     = output.job_cluster.node_type_id == "g5.4xlarge" && output.job_cluster.aws_attributes[0].availability == "SPOT_WITH_FALLBACK" && one(output.job_cluster.init_scripts) == "/Volumes/a/b/c/d.sh" && one(output.job_cluster.alternatives) == "g6.4xlarge"
    error_message = "the definition is not that of the cluster"
  }
}

run "a_tag_that_databricks_sets" {
  command = plan

  variables {
    tags = { ClusterName = "x" }
  }

  expect_failures = [terraform_data.definition]
}

run "a_tag_of_amazons" {
  command = plan

  variables {
    tags = { "aws:team" = "a" }
  }

  expect_failures = [terraform_data.definition]
}
