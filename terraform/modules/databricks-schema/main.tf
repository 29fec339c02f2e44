# A workspace that was enabled for Unity Catalog automatically has a catalog of its own, named after the workspace, and no
# catalog `main`. So no name is assumed: the only catalog is taken, or one must be named.
data "databricks_catalogs" "this" {
  lifecycle {
    postcondition {
      condition     = var.catalog != null || length(setsubtract(self.ids, local.platform_catalogs)) == 1
      error_message = "This workspace does not have exactly one catalog that you may use; it has: ${join(", ", sort(setsubtract(self.ids, local.platform_catalogs)))}. Set catalog to one of them. If there is none, ask a metastore admin for one, with USE CATALOG and CREATE SCHEMA."
    }

    postcondition {
      condition     = var.catalog == null ? true : contains(self.ids, var.catalog)
      error_message = "There is no catalog '${coalesce(var.catalog, "null")}', or you may not use it. Catalogs that you may use: ${join(", ", sort(setsubtract(self.ids, local.platform_catalogs)))}. Set catalog to one of them, or ask its owner for USE CATALOG."
    }
  }
}

locals {
  platform_catalogs = ["system", "samples", "hive_metastore", "__databricks_internal"]
  catalog           = var.catalog != null ? var.catalog : one(setsubtract(data.databricks_catalogs.this.ids, local.platform_catalogs))
}

resource "databricks_schema" "this" {
  count = var.create ? 1 : 0

  catalog_name = local.catalog
  name         = var.name
  comment      = var.comment
}
