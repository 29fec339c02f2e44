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
