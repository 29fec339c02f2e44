resource "databricks_volume" "this" {
  catalog_name = var.catalog
  schema_name  = var.schema
  name         = var.name
  comment      = var.comment
  volume_type  = "MANAGED"
}

# Unity Catalog deletes a volume with everything in it, and `prevent_destroy` would keep the cluster as well. This is
# destroyed before the volume; if it refuses, the volume stays and everything that is not needed for it goes.
resource "terraform_data" "keeper" {
  input = {
    keep   = var.keep
    volume = databricks_volume.this.volume_path
  }

  provisioner "local-exec" {
    when        = destroy
    command     = self.input.keep ? "echo \"$VOLUME is kept, all else is destroyed. To destroy it too: apply with keep = false, then destroy.\" >&2; exit 1" : "exit 0"
    environment = { VOLUME = self.input.volume }
  }
}
