variable "bucket" {
  description = "Name of the bucket that the files are uploaded to: the cluster's staging bucket, where its Jupyter looks for notebooks."
  type        = string

  validation {
    condition     = !startswith(var.bucket, "gs://") && length(var.bucket) > 2
    error_message = "bucket is '${var.bucket}': give the bucket's name alone, without gs://."
  }
}

variable "wheel" {
  description = "The kit's wheel, unless a bundle has it; null takes the only one in dist/."
  type        = string
  default     = null

  validation {
    condition     = var.wheel == null ? var.bundle != null || length(local.built) == 1 : endswith(var.wheel, ".whl") && fileexists(var.wheel) && var.bundle == null
    error_message = var.wheel == null ? "There are ${length(local.built)} wheels in dist/: run `rm -rf dist` and `uv build --wheel`, or name one in wheel." : "There is no wheel '${coalesce(var.wheel, "null")}': run `uv build --wheel` and give the path of what it makes; a bundle has its own wheel."
  }
}

variable "bundle" {
  description = "Folder made by `spark-sidecar wheelhouse build`, whose files are uploaded instead of the wheel alone: nodes then need no package index. null uploads the wheel, in which the lock files are."
  type        = string
  default     = null

  validation {
    condition     = var.bundle == null ? true : fileexists("${var.bundle}/SHA256SUMS")
    error_message = "bundle is '${coalesce(var.bundle, "null")}': give a folder that `spark-sidecar wheelhouse build` finished, with SHA256SUMS in it."
  }
}

variable "init_script" {
  description = "The script that makes each node ready; null takes the kit's, init-scripts/dataproc.sh."
  type        = string
  default     = null

  validation {
    condition     = fileexists(coalesce(var.init_script, local.our_script))
    error_message = "There is no init script '${coalesce(var.init_script, local.our_script)}': give the path of one in init_script."
  }
}

variable "notebooks" {
  description = "Folder whose *.ipynb, and whose src/*.py as programs for jobs, are uploaded; null takes the kit's, notebooks/."
  type        = string
  default     = null
}

variable "recreate_on_change" {
  description = "Whether any change of the files makes a new cluster. If not, running nodes keep what they have, and only new ones (scaled up, replaced) get the change."
  type        = bool
  default     = false
  nullable    = false
}
