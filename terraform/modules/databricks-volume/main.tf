resource "databricks_volume" "this" {
  catalog_name = var.catalog
  schema_name  = var.schema
  name         = var.name
  comment      = var.comment
  volume_type  = "MANAGED"
}

# Unity Catalog deletes a volume together with its content. `prevent_destroy` is no help: it stops the whole destroy, so
# that the cluster stays too. Terraform destroys this resource before the volume. If its provisioner fails, the volume
# stays, and Terraform still destroys whatever the volume does not depend on.
resource "terraform_data" "removal_guard" {
  input = {
    keep   = var.keep
    volume = databricks_volume.this.volume_path
  }

  provisioner "local-exec" {
    when        = destroy
    command     = self.input.keep ? "echo \"$VOLUME is kept, everything else is destroyed. To destroy it too: apply with keep = false, then destroy.\" >&2; exit 1" : "exit 0"
    environment = { VOLUME = self.input.volume }
  }
}

moved {
  from = terraform_data.keeper
  to   = terraform_data.removal_guard
}
