locals {
  root        = "${path.module}/../../.."
  frameworks  = jsondecode(file("${local.root}/server_utils/data/clusters.json")).platforms["databricks-aws"].frameworks
  built       = [for name in fileset(local.root, "dist/*.whl") : "${local.root}/${name}"]
  our_script  = "${local.root}/init-scripts/databricks.sh"
  init_script = var.init_script != null ? var.init_script : local.our_script
  notebooks   = var.notebooks != null ? var.notebooks : "${local.root}/notebooks"
  home        = var.workspace_folder != null ? var.workspace_folder : "${data.databricks_current_user.this[0].home}/spark-sidecar"

  wheel = var.wheel != null ? var.wheel : one(local.built)
  files = var.bundle != null ? { for name in fileset(var.bundle, "**") : name => "${var.bundle}/${name}" } : { (basename(local.wheel)) = local.wheel }
  sums  = { for name, path in local.files : name => filesha256(path) }

  # The hash of all files is in the folder's name. So the files of a running cluster never change, and a change of any file
  # changes the init script's path, for which Databricks restarts the cluster.
  hash   = substr(sha256(jsonencode([local.sums, filesha256(local.init_script), var.framework, var.downloads, var.workers])), 0, 12)
  folder = "${var.volume}/spark-sidecar-${local.hash}"

  # A running init script cannot find out its own path, so the path of its settings is written into it.
  texts = merge(
    { "databricks.sh" = replace(file(local.init_script), "@SETTINGS@", "${local.folder}/spark-sidecar.env") },
    { "spark-sidecar.env" = "FRAMEWORK=${var.framework}\nSPARK_SIDECAR_BUNDLE=${local.folder}\nSPARK_SIDECAR_LOGS=${var.volume}/logs\n${var.workers == null ? "" : "SPARK_SIDECAR_WORKERS=${var.workers}\n"}${join("", [for name, value in var.downloads : "${name}=${value}\n"])}" },
    var.bundle != null ? {} : { "SHA256SUMS" = "${values(local.sums)[0]}  ${keys(local.sums)[0]}\n" },
  )
}

data "databricks_current_user" "this" {
  count = var.workspace_folder == null ? 1 : 0
}

resource "databricks_file" "files" {
  for_each = local.files

  source = each.value
  path   = "${local.folder}/${each.key}"

  lifecycle {
    create_before_destroy = true # the old folder is deleted after the cluster has changed to the new one
  }
}

resource "databricks_file" "texts" {
  for_each = local.texts

  content_base64 = base64encode(each.value)
  path           = "${local.folder}/${each.key}"

  lifecycle {
    create_before_destroy = true
  }
}

# The provider makes the folders that are missing. Jupyter's .ipynb_checkpoints are no notebooks of anybody.
resource "databricks_notebook" "this" {
  for_each = setunion(fileset(local.notebooks, "*.ipynb"), fileset(local.notebooks, "[^.]*/*.ipynb"))

  source = "${local.notebooks}/${each.key}"
  path   = "${local.home}/${trimsuffix(each.key, ".ipynb")}"
  format = "JUPYTER"
}
