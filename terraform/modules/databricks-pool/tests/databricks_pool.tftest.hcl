mock_provider "databricks" {}

variables {
  platform = "databricks-aws"
  shape    = "a10x1"
}

run "the_runtime_is_preloaded" {
  command = plan

  assert {
    condition     = databricks_instance_pool.this.node_type_id == "g5.4xlarge" && one(databricks_instance_pool.this.preloaded_spark_versions) == "17.3.x-gpu-ml-scala2.13" && one(databricks_instance_pool.this.aws_attributes).availability == "ON_DEMAND"
    error_message = "nodes of the shape, on demand, with the runtime"
  }
}

run "on_azure" {
  command = plan

  variables {
    platform = "databricks-azure"
    shape    = "t4x1"
  }

  assert {
    condition     = one(databricks_instance_pool.this.azure_attributes).availability == "ON_DEMAND_AZURE"
    error_message = "on demand on every cloud"
  }
}

run "on_gcp" {
  command = plan

  variables {
    platform = "databricks-gcp"
    shape    = "l4x1"
  }

  assert {
    condition     = one(databricks_instance_pool.this.gcp_attributes).gcp_availability == "ON_DEMAND_GCP"
    error_message = "on demand on every cloud"
  }
}

run "a_shape_that_is_sold_as_spot_only" {
  command = plan

  variables {
    platform = "databricks-gcp"
    shape    = "h100x1"
  }

  expect_failures = [databricks_instance_pool.this]
}

run "an_undocumented_node_type" {
  command = plan

  variables {
    shape = "h100x1"
  }

  expect_failures = [databricks_instance_pool.this]
}

run "an_undocumented_node_type_when_allowed" {
  command = plan

  variables {
    shape              = "h100x1"
    allow_undocumented = true
  }

  assert {
    condition     = databricks_instance_pool.this.node_type_id == "p5.4xlarge"
    error_message = "taken when asked for"
  }
}

run "an_unknown_platform" {
  command = plan

  variables {
    platform = "aws"
  }

  expect_failures = [var.platform]
}

run "an_unknown_shape" {
  command = plan

  variables {
    shape = "a10x3"
  }

  expect_failures = [var.shape]
}

run "an_unknown_runtime" {
  command = plan

  variables {
    runtime = "17.3.x-cpu"
  }

  expect_failures = [var.runtime]
}

run "more_idle_than_there_may_be" {
  command = plan

  variables {
    min_idle     = 3
    max_capacity = 2
  }

  expect_failures = [var.min_idle]
}

run "too_long" {
  command = plan

  variables {
    idle_minutes = 10001
  }

  expect_failures = [var.idle_minutes]
}

run "a_tag_that_databricks_sets" {
  command = plan

  variables {
    tags = { Name = "x" }
  }

  expect_failures = [var.tags]
}

run "tags_of_a_budget" {
  command = plan

  variables {
    tags = { "Cost Center" = "research" }
  }

  assert {
    condition     = databricks_instance_pool.this.custom_tags["Cost Center"] == "research"
    error_message = "the nodes have the tag"
  }
}
