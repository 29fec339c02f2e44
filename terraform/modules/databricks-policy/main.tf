locals {
  catalogue = jsondecode(file("${path.module}/../../../server_utils/data/clusters.json")).platforms
  platform  = local.catalogue[var.platform]
  shapes    = { for name in var.shapes : name => local.platform.shapes[name] }

  fixed = {
    "data_security_mode"                 = { type = "fixed", value = "SINGLE_USER", hidden = true }
    "runtime_engine"                     = { type = "fixed", value = "STANDARD", hidden = true }
    "init_scripts.0.volumes.destination" = { type = "fixed", value = var.init_script, hidden = true }
  }
  # Besides the one that is fixed no script may run, wherever it is.
  other_scripts = var.init_script == null ? {} : { for kind in ["abfss", "dbfs", "file", "gcs", "s3", "volumes", "workspace"] : "init_scripts.*.${kind}.destination" => { type = "forbidden" } }
  chosen = {
    "spark_version"           = { type = "allowlist", values = keys(local.platform.runtimes), defaultValue = local.platform.runtime }
    "node_type_id"            = { type = "allowlist", values = distinct([for each in local.shapes : each.node_type]) }
    "driver_node_type_id"     = { type = "allowlist", values = distinct(concat([local.platform.driver_node_type], [for each in local.shapes : each.node_type])) }
    "num_workers"             = { type = "range", minValue = 0, maxValue = var.max_workers, isOptional = true } # a cluster has one of these two
    "autoscale.max_workers"   = { type = "range", maxValue = var.max_workers, isOptional = true }
    "autotermination_minutes" = { type = "range", minValue = 10, maxValue = var.max_idle_minutes, defaultValue = min(60, var.max_idle_minutes) }
  }
  # Pools have availability and zone of their own: with them these fields are left out.
  attributes = local.platform.attributes
  cloud = {
    "availability"    = { type = "allowlist", values = var.spot ? [local.attributes.on_demand, local.attributes.spot] : [local.attributes.on_demand], defaultValue = local.attributes.on_demand, isOptional = true }
    "first_on_demand" = { type = "range", minValue = local.attributes.first_on_demand, defaultValue = local.attributes.first_on_demand, isOptional = true } # the driver is on demand
    "zone_id"         = length(var.zones) == 0 ? null : { type = "allowlist", values = tolist(var.zones), defaultValue = sort(var.zones)[0], isOptional = true }
  }
  zone_names = { databricks-aws = "^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", databricks-gcp = "^[a-z]+-[a-z]+[0-9]+-[a-z]$" }
  where      = { for name, each in local.cloud : "${local.attributes.field}.${name}" => each if each != null }
  tags       = { for name, value in var.tags : "custom_tags.${name}" => { type = "fixed", value = value } }
  # Without isOptional, a cluster without the tag is refused.
  budgets = { for name, values in var.budget_tags : "custom_tags.${name}" => length(values) > 0 ? { type = "allowlist", values = values } : { type = "unlimited", values = null } }
}

resource "databricks_cluster_policy" "this" {
  name       = var.name
  definition = jsonencode(merge(local.chosen, { for key, each in local.fixed : key => each if each.value != null }, local.other_scripts, local.where, local.tags, { for name, each in local.budgets : name => { for key, value in each : key => value if value != null } }))
}

resource "databricks_permissions" "this" {
  count = length(var.groups) > 0 ? 1 : 0

  cluster_policy_id = databricks_cluster_policy.this.id

  dynamic "access_control" {
    for_each = var.groups
    content {
      group_name       = access_control.value
      permission_level = "CAN_USE"
    }
  }
}
