mock_provider "databricks" {}

variables {
  platform = "databricks-aws"
  shapes   = ["t4x1-small", "a10x1"]
}

run "only_the_shapes_are_allowed" {
  command = plan

  variables {
    init_script = "/Volumes/a/b/c/d.sh"
    tags        = { team = "a" }
    groups      = ["g"]
  }

  assert {
    condition     = toset(jsondecode(databricks_cluster_policy.this.definition)["node_type_id"].values) == toset(["g4dn.xlarge", "g5.4xlarge"]) && jsondecode(databricks_cluster_policy.this.definition)["init_scripts.0.volumes.destination"].value == "/Volumes/a/b/c/d.sh" && jsondecode(databricks_cluster_policy.this.definition)["custom_tags.team"].value == "a" && length(databricks_permissions.this) == 1
    error_message = "node types, init script, tags and groups"
  }

  assert {
    condition     = jsondecode(databricks_cluster_policy.this.definition)["autoscale.max_workers"].maxValue == 4 && jsondecode(databricks_cluster_policy.this.definition)["num_workers"].maxValue == 4
    error_message = "autoscaling has the same limit as a fixed number of workers"
  }

  assert {
    condition     = jsondecode(databricks_cluster_policy.this.definition)["init_scripts.*.volumes.destination"].type == "forbidden" && jsondecode(databricks_cluster_policy.this.definition)["init_scripts.*.workspace.destination"].type == "forbidden"
    error_message = "no other init script may run"
  }
}

run "an_init_script_is_the_users_unless_fixed" {
  command = plan

  assert {
    condition     = !contains(keys(jsondecode(databricks_cluster_policy.this.definition)), "init_scripts.0.volumes.destination") && !contains(keys(jsondecode(databricks_cluster_policy.this.definition)), "init_scripts.*.volumes.destination") && length(databricks_permissions.this) == 0
    error_message = "nothing is fixed that was not given"
  }
}

run "an_unknown_platform" {
  command = plan

  variables {
    platform = "aws"
  }

  expect_failures = [var.platform]
}

run "no_name" {
  command = plan

  variables {
    name = " "
  }

  expect_failures = [var.name]
}

run "an_unknown_shape" {
  command = plan

  variables {
    shapes = ["a10x3"]
  }

  expect_failures = [var.shapes]
}

run "a_script_elsewhere" {
  command = plan

  variables {
    init_script = "/Workspace/x.sh"
  }

  expect_failures = [var.init_script]
}

run "half_a_worker" {
  command = plan

  variables {
    max_workers = 0.5
  }

  expect_failures = [var.max_workers]
}

run "too_short" {
  command = plan

  variables {
    max_idle_minutes = 5
  }

  expect_failures = [var.max_idle_minutes]
}

run "availability_and_zone_are_limited" {
  command = plan

  variables {
    spot  = false
    zones = ["us-east-1b", "us-east-1a"]
  }

  assert {
    condition     = jsondecode(databricks_cluster_policy.this.definition)["aws_attributes.availability"].values == ["ON_DEMAND"] && jsondecode(databricks_cluster_policy.this.definition)["aws_attributes.zone_id"].defaultValue == "us-east-1a" && jsondecode(databricks_cluster_policy.this.definition)["aws_attributes.first_on_demand"].minValue == 1
    error_message = "on demand only, in two zones, with the driver on demand"
  }
}

run "spot_and_any_zone_unless_limited" {
  command = plan

  variables {
    platform = "databricks-azure"
    shapes   = ["t4x1-small"]
  }

  assert {
    condition     = jsondecode(databricks_cluster_policy.this.definition)["azure_attributes.availability"].values == ["ON_DEMAND_AZURE", "SPOT_WITH_FALLBACK_AZURE"] && !contains(keys(jsondecode(databricks_cluster_policy.this.definition)), "azure_attributes.zone_id")
    error_message = "spot workers, and no zone on Azure"
  }
}

run "a_region_instead_of_a_zone" {
  command = plan

  variables {
    zones = ["us-east-1"]
  }

  expect_failures = [var.zones]
}

run "a_zone_on_azure" {
  command = plan

  variables {
    platform = "databricks-azure"
    shapes   = ["t4x1-small"]
    zones    = ["1"]
  }

  expect_failures = [var.zones]
}

run "a_tag_that_databricks_sets" {
  command = plan

  variables {
    tags = { Vendor = "x" }
  }

  expect_failures = [var.tags]
}

run "a_budget_on_a_tag_that_databricks_sets" {
  command = plan

  variables {
    budget_tags = { Creator = [] }
  }

  expect_failures = [var.budget_tags]
}

run "a_tag_twice" {
  command = plan

  variables {
    tags        = { team = "a" }
    budget_tags = { team = ["a", "b"] }
  }

  expect_failures = [var.budget_tags]
}

run "tags_that_every_cluster_must_have" {
  command = plan

  variables {
    budget_tags = { team = ["a", "b"], cost-centre = [] }
  }

  assert {
    condition     = jsondecode(databricks_cluster_policy.this.definition)["custom_tags.team"].values == ["a", "b"] && jsondecode(databricks_cluster_policy.this.definition)["custom_tags.cost-centre"] == { type = "unlimited" }
    error_message = "one to choose, one of any value, and neither may be left out"
  }
}
