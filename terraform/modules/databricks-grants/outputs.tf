output "needed" {
  description = "Everything that the principal needs, as SQL, for who may not grant it: hand this to the owner of the catalog."
  value = concat(
    ["GRANT USE CATALOG ON CATALOG `${var.catalog}` TO `${var.principal}`", "GRANT USE SCHEMA ON SCHEMA `${var.catalog}`.`${var.schema}` TO `${var.principal}`"],
    [for name in sort(setunion(var.read_volumes, var.write_volumes)) : "GRANT ${contains(var.write_volumes, name) ? "READ VOLUME, WRITE VOLUME" : "READ VOLUME"} ON VOLUME `${var.catalog}`.`${var.schema}`.`${name}` TO `${var.principal}`"],
  )
}

output "principal" {
  description = "The principal. Whatever uses this output waits until the grants are made."
  value       = var.principal
  depends_on  = [databricks_grant.catalog, databricks_grant.schema, databricks_grant.volumes]
}
