mock_provider "google" {}

variables {
  project         = "project-1"
  region          = "us-central1"
  zone            = "us-central1-a"
  shape           = "l4x1"
  framework       = "vllm"
  service_account = "kit@project-1.iam.gserviceaccount.com"
  staging_bucket  = "project-1-files"
}

run "defaults" {
  command = plan

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).machine_type == "g2-standard-12" && one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).machine_type == output.machine_type
    error_message = "workers have the machine type of the shape"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).gce_cluster_config).internal_ip_only
    error_message = "internal addresses only by default"
  }

  assert {
    condition     = one(one(one(google_dataproc_cluster.this[0].cluster_config).gce_cluster_config).shielded_instance_config).enable_secure_boot
    error_message = "secure boot is on, as the image's own driver is signed"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).gce_cluster_config).service_account_scopes == toset(["https://www.googleapis.com/auth/cloud-platform"])
    error_message = "with an alias every apply replaces the cluster"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executorEnv.FRAMEWORK"] == "vllm"
    error_message = "executors are told the framework"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executor.instances"] == "2"
    error_message = "an executor on each worker"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).lifecycle_config).idle_delete_ttl == "3600s"
    error_message = "deleted after an idle hour"
  }
}

run "created" {
  command = apply
}

run "init_actions" {
  command = plan

  variables {
    init_action = "gs://b/dataproc.sh"
    metadata    = { spark-sidecar-bundle = "gs://b/spark-sidecar" }
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).initialization_action).timeout_sec == 1800
    error_message = "an init action may take half an hour"
  }
}

run "tensor_parallel" {
  command = plan

  variables {
    shape = "l4x4"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executor.resource.gpu.amount"] == "4"
    error_message = "the one executor of a node has all its GPUs"
  }
}

run "single_node" {
  command = plan

  variables {
    workers = 0
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["dataproc:dataproc.allow.zero.workers"] == "true" && one(one(google_dataproc_cluster.this[0].cluster_config).master_config).machine_type == output.machine_type
    error_message = "the only node has the shape"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executor.instances"] == "1"
    error_message = "one executor"
  }
}

run "autoscaling" {
  command = plan

  variables {
    autoscale = { max_workers = 4, max_spot_workers = 4 }
  }

  assert {
    condition     = one(google_dataproc_autoscaling_policy.this[0].worker_config).max_instances == 4
    error_message = "the policy has the bounds"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).preemptible_worker_config).preemptibility == "SPOT" && one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executor.instances"] == "8"
    error_message = "executors for as many nodes as there may be"
  }
}

run "spot" {
  command = plan

  variables {
    spot_workers = 3
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).preemptible_worker_config).num_instances == 3
    error_message = "secondary workers are spot instances"
  }
}

run "encrypted" {
  command = plan

  variables {
    kms_key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).encryption_config).kms_key_name == var.kms_key
    error_message = "disks have the user's key"
  }
}

run "an_image_with_a_driver_action" {
  command = plan

  variables {
    image              = "2.3-ubuntu22"
    driver_init_action = "gs://b/install_gpu_driver.sh"
    init_action        = "gs://b/own.sh"
  }

  assert {
    condition     = one(google_dataproc_cluster.this[0].cluster_config).initialization_action[0].script == "gs://b/install_gpu_driver.sh"
    error_message = "the driver comes first"
  }

  assert {
    condition     = !one(one(one(google_dataproc_cluster.this[0].cluster_config).gce_cluster_config).shielded_instance_config).enable_secure_boot
    error_message = "a driver that is built on the node is not signed"
  }
}

run "accelerators" {
  command = plan

  variables {
    accelerator_type = "nvidia-l4"
  }

  assert {
    condition     = one(one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).accelerators).accelerator_count == 1
    error_message = "as many as the shape has"
  }
}

run "kept" {
  command = plan

  variables {
    idle_delete_minutes = null
  }

  assert {
    condition     = length(one(google_dataproc_cluster.this[0].cluster_config).lifecycle_config) == 0
    error_message = "never deleted"
  }
}

run "not_a_project" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "a_zone_for_a_region" {
  command = plan

  variables {
    region = "us-central1-a"
  }

  expect_failures = [var.region]
}

run "a_zone_elsewhere" {
  command = plan

  variables {
    zone = "europe-west4-a"
  }

  expect_failures = [var.zone]
}

run "an_unknown_shape" {
  command = plan

  variables {
    shape = "a10x1"
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

run "one_worker" {
  command = plan

  variables {
    workers = 1
  }

  expect_failures = [var.workers]
}

run "negative_spot" {
  command = plan

  variables {
    spot_workers = -1
  }

  expect_failures = [var.spot_workers]
}

run "bounds_turned_round" {
  command = plan

  variables {
    autoscale = { min_workers = 4, max_workers = 2 }
  }

  expect_failures = [var.autoscale]
}

run "a_long_name" {
  command = plan

  variables {
    name = "This is a name"
  }

  expect_failures = [var.name]
}

run "a_sub_minor_image" {
  command = plan

  variables {
    image = "2.3.10-ml-ubuntu22"
  }

  expect_failures = [var.image]
}

run "a_driver_from_the_web" {
  command = plan

  variables {
    driver_init_action = "https://example.com/x.sh"
  }

  expect_failures = [var.driver_init_action]
}

run "not_a_machine" {
  command = plan

  variables {
    master_machine_type = "big"
  }

  expect_failures = [var.master_machine_type]
}

run "not_an_accelerator" {
  command = plan

  variables {
    accelerator_type = "l4"
  }

  expect_failures = [var.accelerator_type]
}

run "a_prefix_in_the_conf" {
  command = plan

  variables {
    spark_conf = { "spark:spark.x" = "1" }
  }

  expect_failures = [var.spark_conf]
}

run "a_secret_in_the_conf" {
  command = plan

  variables {
    spark_conf = { "spark.x.password" = "1" }
  }

  expect_failures = [var.spark_conf]
}

run "spark_in_the_properties" {
  command = plan

  variables {
    properties = { "spark:spark.x" = "1" }
  }

  expect_failures = [var.properties]
}

run "a_secret_in_the_env" {
  command = plan

  variables {
    env = { HF_TOKEN = "hf_x" }
  }

  expect_failures = [var.env]
}

run "an_init_action_elsewhere" {
  command = plan

  variables {
    init_action = "/init.sh"
  }

  expect_failures = [var.init_action]
}

run "an_init_action_without_its_metadata" {
  command = plan

  variables {
    init_action = "gs://b/dataproc.sh"
  }

  expect_failures = [var.init_action]
}

run "too_little_time" {
  command = plan

  variables {
    init_timeout_s = 60
  }

  expect_failures = [var.init_timeout_s]
}

run "the_default_account" {
  command = plan

  variables {
    service_account = "1-compute@developer.gserviceaccount.com"
  }

  expect_failures = [var.service_account]
}

run "an_address_for_a_bucket" {
  command = plan

  variables {
    staging_bucket = "gs://b"
  }

  expect_failures = [var.staging_bucket]
}

run "not_a_key" {
  command = plan

  variables {
    kms_key = "k"
  }

  expect_failures = [var.kms_key]
}

run "a_small_disk" {
  command = plan

  variables {
    boot_disk_gb = 20
  }

  expect_failures = [var.boot_disk_gb]
}

run "too_little_idleness" {
  command = plan

  variables {
    idle_delete_minutes = 1
  }

  expect_failures = [var.idle_delete_minutes]
}

run "labels_in_capitals" {
  command = plan

  variables {
    labels = { Team = "X" }
  }

  expect_failures = [var.labels]
}

run "rapids_with_several_gpus" {
  command = plan

  variables {
    shape  = "l4x4"
    rapids = true
  }

  expect_failures = [terraform_data.definition]
}

run "an_image_without_driver" {
  command = plan

  variables {
    image = "2.3-ubuntu22"
  }

  expect_failures = [terraform_data.definition]
}

run "a_driver_that_does_not_boot" {
  command = plan

  variables {
    image              = "2.3-ubuntu22"
    driver_init_action = "gs://b/x.sh"
    secure_boot        = true
  }

  expect_failures = [terraform_data.definition]
}

run "a_single_node_with_spot" {
  command = plan

  variables {
    workers      = 0
    spot_workers = 2
  }

  expect_failures = [terraform_data.definition]
}

run "workers_out_of_bounds" {
  command = plan

  variables {
    workers   = 9
    autoscale = { max_workers = 4 }
  }

  expect_failures = [terraform_data.definition]
}

run "a_single_node_with_too_little_memory" {
  command = plan

  variables {
    workers = 0
    shape   = null
    node    = { node_type = "n1-custom", gpus = 1, vcpus = 4, ram_gib = 15, gpu_memory_gib = 16 }
  }

  expect_failures = [terraform_data.definition]
}

run "a_secret_in_the_metadata" {
  command = plan

  variables {
    metadata = { hf-token = "hf_x" }
  }

  expect_failures = [var.metadata]
}

run "a_password_in_an_address_in_the_metadata" {
  command = plan

  variables {
    metadata = { UV_DEFAULT_INDEX = "https://me:hunter2@index.example/simple" }
  }

  expect_failures = [var.metadata]
}

run "a_token_in_an_address_in_the_env" {
  command = plan

  variables {
    env = { UV_INDEX_URL = "https://hunter2@index.example/simple" }
  }

  expect_failures = [var.env]
}

run "names_that_only_look_secret" {
  command = plan

  variables {
    env        = { TOKENIZERS_PARALLELISM = "false", AWS_ACCESS_KEY_ID = "AKIA", GOOGLE_APPLICATION_CREDENTIALS = "/k.json" }
    spark_conf = { "spark.security.credentials.hive.enabled" = "false" }
  }
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

run "the_memory_of_yarn_is_set_and_its_watch_is_off" {
  command = plan

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["yarn:yarn.nodemanager.resource.memory-mb"] == "38912" && one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["yarn:yarn.nodemanager.pmem-check-enabled"] == "false"
    error_message = "YARN would guess, and kill servers"
  }
}

run "plugins_of_the_image_are_unset" {
  command = plan

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.plugins"] == ""
    error_message = "the RAPIDS Accelerator would take the GPU"
  }
}

run "plugins_of_the_user_are_kept" {
  command = plan

  variables {
    spark_conf = { "spark.plugins" = "a.B" }
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.plugins"] == "a.B"
    error_message = "the user's plugin"
  }
}

run "a_gpu_is_attached_where_the_shape_says_so" {
  command = plan

  variables {
    shape = "t4x1"
  }

  assert {
    condition     = one(one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).accelerators).accelerator_type == "nvidia-tesla-t4"
    error_message = "an N1 machine has no GPU of its own"
  }
}

run "a_single_node_leaves_memory_to_the_master" {
  command = plan

  variables {
    workers = 0
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["yarn:yarn.nodemanager.resource.memory-mb"] == "34816" && one(one(google_dataproc_cluster.this[0].cluster_config).software_config).override_properties["spark:spark.executor.memoryOverhead"] == "20g"
    error_message = "HDFS and YARN run on the single node too"
  }
}

run "local_ssds" {
  command = plan

  variables {
    shape      = "l4x2"
    local_ssds = 2
  }

  assert {
    condition     = one(one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).disk_config).num_local_ssds == 2 && one(one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).disk_config).local_ssd_interface == "nvme"
    error_message = "models are downloaded to NVMe"
  }
}

run "a_node_of_ones_own" {
  command = plan

  variables {
    shape = null
    node  = { node_type = "g9-standard-32", gpus = 2, vcpus = 32, ram_gib = 256, gpu_memory_gib = 48, accelerator = "nvidia-new" }
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).machine_type == "g9-standard-32" && one(one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).accelerators).accelerator_count == 2
    error_message = "the node that was described"
  }
}

run "a_node_and_a_shape" {
  command = plan

  variables {
    node = { node_type = "g9-standard-32", gpus = 2, vcpus = 32, ram_gib = 256, gpu_memory_gib = 48, accelerator = "nvidia-new" }
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

run "a_node_without_memory" {
  command = plan

  variables {
    shape = null
    node  = { node_type = "g9-standard-32", gpus = 2, vcpus = 32, ram_gib = 2, gpu_memory_gib = 48, accelerator = "nvidia-new" }
  }

  expect_failures = [var.node]
}

run "spot_only" {
  command = plan

  variables {
    shape = "h100x1"
  }

  expect_failures = [terraform_data.definition]
}

run "an_undocumented_node_type" {
  command = plan

  variables {
    shape = "h100x8"
  }

  expect_failures = [terraform_data.definition]
}

run "an_undocumented_node_type_when_allowed" {
  command = plan

  variables {
    shape              = "h100x8"
    allow_undocumented = true
  }

  assert {
    condition     = one(one(google_dataproc_cluster.this[0].cluster_config).worker_config).machine_type == "a3-highgpu-8g"
    error_message = "taken when asked for"
  }
}

run "spot_workers_with_an_attached_gpu" {
  command = plan

  variables {
    shape        = "t4x1"
    spot_workers = 1
  }

  expect_failures = [terraform_data.definition]
}

run "three_ssds" {
  command = plan

  variables {
    local_ssds = 3
  }

  expect_failures = [var.local_ssds]
}

run "disks_that_the_machine_does_not_take" {
  command = plan

  variables {
    shape      = "l4x1"
    local_ssds = 2
  }

  expect_failures = [terraform_data.definition]
}
