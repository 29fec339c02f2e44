locals {
  is_user        = strcontains(var.principal, "@")
  is_application = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.principal))
  # Who applies this owns the clusters already, and Databricks refuses to take that away.
  clusters = var.principal == data.databricks_current_user.this.user_name ? {} : var.clusters
}

data "databricks_current_user" "this" {}

# databricks_grant, not databricks_grants: the latter replaces the grants of all others too.
resource "databricks_grant" "catalog" {
  count = var.grant_catalog ? 1 : 0

  catalog    = var.catalog
  principal  = var.principal
  privileges = ["USE_CATALOG"]
}

resource "databricks_grant" "schema" {
  count = var.grant_schema ? 1 : 0

  schema     = "${var.catalog}.${var.schema}"
  principal  = var.principal
  privileges = ["USE_SCHEMA"]
}

resource "databricks_grant" "volumes" {
  for_each = merge({ for name in var.read_volumes : name => ["READ_VOLUME"] }, { for name in var.write_volumes : name => ["READ_VOLUME", "WRITE_VOLUME"] })

  volume     = "${var.catalog}.${var.schema}.${each.key}"
  principal  = var.principal
  privileges = each.value
}

# Whoever makes a cluster manages it; nobody else may even attach a notebook.
resource "databricks_permissions" "clusters" {
  for_each = local.clusters

  cluster_id = each.value

  access_control {
    permission_level       = "CAN_RESTART"
    user_name              = local.is_user ? var.principal : null
    service_principal_name = local.is_application ? var.principal : null
    group_name             = local.is_user || local.is_application ? null : var.principal
  }
}
