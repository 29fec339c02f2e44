locals {
  root        = "${path.module}/../../.."
  built       = [for name in fileset(local.root, "dist/*.whl") : "${local.root}/${name}"]
  wheel       = var.wheel != null ? var.wheel : one(local.built)
  our_script  = "${local.root}/init-scripts/dataproc.sh"
  init_script = var.init_script != null ? var.init_script : local.our_script
  locks       = [for name in fileset(local.root, "server_utils/data/requirements/{*-cuda,uv}.txt") : "${local.root}/${name}"]
  notebooks   = var.notebooks != null ? var.notebooks : "${local.root}/notebooks"

  # Dataproc makes a new cluster when the init action's address changes; whether it does is the user's choice.
  sources = { for path in concat([local.wheel, local.init_script], local.locks) : basename(path) => path }
  hash    = substr(sha256(jsonencode({ for name, path in local.sources : name => filesha256(path) })), 0, 12)
  folder  = var.recreate_on_change ? "spark-sidecar-${local.hash}" : "spark-sidecar"
}

resource "google_storage_bucket_object" "this" {
  for_each = local.sources

  bucket = var.bucket
  name   = "${local.folder}/${each.key}"
  source = each.value # a change of its content alone is noticed by the provider, and uploaded
}

resource "google_storage_bucket_object" "notebook" {
  for_each = fileset(local.notebooks, "*.ipynb")

  bucket = var.bucket
  name   = "notebooks/jupyter/${each.key}" # where Dataproc's Jupyter looks in the staging bucket
  source = "${local.notebooks}/${each.key}"
}

resource "google_storage_bucket_object" "program" {
  for_each = fileset(local.notebooks, "src/*.py")

  bucket = var.bucket
  name   = "spark-sidecar-jobs/${basename(each.key)}"
  source = "${local.notebooks}/${each.key}"
}
