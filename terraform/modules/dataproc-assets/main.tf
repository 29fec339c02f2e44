locals {
  root        = "${path.module}/../../.."
  built       = [for name in fileset(local.root, "dist/*.whl") : "${local.root}/${name}"]
  our_script  = "${local.root}/init-scripts/dataproc.sh"
  init_script = var.init_script != null ? var.init_script : local.our_script
  notebooks   = var.notebooks != null ? var.notebooks : "${local.root}/notebooks"

  wheel = var.wheel != null ? var.wheel : one(local.built)
  files = var.bundle != null ? { for name in fileset(var.bundle, "**") : name => "${var.bundle}/${name}" } : { (basename(local.wheel)) = local.wheel }
  sums  = { for name, path in local.files : name => filesha256(path) }

  # A new address of the init action replaces the cluster. The user chooses whether a change of a file does that.
  hash   = substr(sha256(jsonencode([local.sums, filesha256(local.init_script)])), 0, 12)
  folder = var.recreate_on_change ? "spark-sidecar-${local.hash}" : "spark-sidecar"
}

# The provider compares the content of the files, and uploads those that changed under the same name.
resource "google_storage_bucket_object" "files" {
  for_each = local.files

  bucket = var.bucket
  name   = "${local.folder}/${each.key}"
  source = each.value
}

resource "google_storage_bucket_object" "sums" {
  count = var.bundle != null ? 0 : 1

  bucket  = var.bucket
  name    = "${local.folder}/SHA256SUMS"
  content = "${values(local.sums)[0]}  ${keys(local.sums)[0]}\n"
}

resource "google_storage_bucket_object" "init_script" {
  bucket = var.bucket
  name   = "${local.folder}/dataproc.sh"
  source = local.init_script
}

# Jupyter's .ipynb_checkpoints are no notebooks of anybody.
resource "google_storage_bucket_object" "notebooks" {
  for_each = setunion(fileset(local.notebooks, "*.ipynb"), fileset(local.notebooks, "[^.]*/*.ipynb"))

  bucket = var.bucket
  name   = "notebooks/jupyter/${each.key}" # where Dataproc's Jupyter looks in the staging bucket
  source = "${local.notebooks}/${each.key}"
}

resource "google_storage_bucket_object" "programs" {
  for_each = setunion(fileset(local.notebooks, "src/*.py"), fileset(local.notebooks, "src/[^.]*/*.py"))

  bucket = var.bucket
  name   = "spark-sidecar-jobs/${trimprefix(each.key, "src/")}"
  source = "${local.notebooks}/${each.key}"
}
