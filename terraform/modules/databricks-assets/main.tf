locals {
  root        = "${path.module}/../../.."
  built       = [for name in fileset(local.root, "dist/*.whl") : "${local.root}/${name}"]
  wheel       = var.wheel != null ? var.wheel : one(local.built)
  our_script  = "${local.root}/init-scripts/databricks.sh"
  init_script = var.init_script != null ? var.init_script : local.our_script
  locks       = [for name in fileset(local.root, "server_utils/data/requirements/{*-cuda,uv}.txt") : "${local.root}/${name}"]
  notebooks   = var.notebooks != null ? var.notebooks : "${local.root}/notebooks"
  home        = var.workspace_folder != null ? var.workspace_folder : "${data.databricks_current_user.this[0].home}/spark-sidecar"

  # The folder's name is the hash of all in it: what a running cluster was started from never changes under it, and any
  # change of a file is a change of the init script's path, upon which Databricks restarts the cluster.
  sources = { for path in concat([local.wheel, local.init_script], local.locks) : basename(path) => path }
  hash    = substr(sha256(jsonencode({ for name, path in local.sources : name => filesha256(path) })), 0, 12)
  folder  = "${var.volume}/spark-sidecar-${local.hash}"
}

data "databricks_current_user" "this" {
  count = var.workspace_folder == null ? 1 : 0
}

resource "databricks_file" "this" {
  for_each = local.sources

  source = each.value
  path   = "${local.folder}/${each.key}"

  lifecycle {
    create_before_destroy = true # the cluster moves to the new folder before the old one goes
  }
}

resource "databricks_notebook" "this" {
  for_each = fileset(local.notebooks, "*.ipynb")

  source = "${local.notebooks}/${each.key}"
  path   = "${local.home}/${trimsuffix(each.key, ".ipynb")}"
  format = "JUPYTER"
}
