variable "bucket" {
  description = "Name of the bucket that the files are uploaded to. Use the cluster's staging bucket: its Jupyter looks for notebooks there."
  type        = string

  validation {
    condition     = !startswith(var.bucket, "gs://") && length(var.bucket) > 2
    error_message = "bucket is '${var.bucket}': give the bucket's name alone, without gs://."
  }
}

variable "wheel" {
  description = "Path of the spark-sidecar wheel; null takes the only one in dist/. Not with bundle, which contains a wheel."
  type        = string
  default     = null

  validation {
    condition     = var.wheel == null ? var.bundle != null || length(local.built) == 1 : endswith(var.wheel, ".whl") && fileexists(var.wheel) && var.bundle == null
    error_message = var.wheel == null ? "There are ${length(local.built)} wheels in dist/: run `rm -rf dist` and `uv build --wheel`, or set wheel to the path of one." : "There is no wheel '${coalesce(var.wheel, "null")}': run `uv build --wheel` and give the path of the file that it makes. With bundle, leave wheel out: a bundle contains its wheel."
  }
}

variable "bundle" {
  description = "Folder made by `spark-sidecar wheelhouse build`. Its files are uploaded instead of the wheel alone, so that nodes need no package index. null uploads the wheel, which contains the lock files."
  type        = string
  default     = null

  validation {
    condition     = var.bundle == null ? true : fileexists("${var.bundle}/SHA256SUMS")
    error_message = "bundle is '${coalesce(var.bundle, "null")}': give a folder that `spark-sidecar wheelhouse build` finished: it contains SHA256SUMS."
  }
}

variable "init_script" {
  description = "Path of the init script that prepares each node; null takes init-scripts/dataproc.sh of this repository."
  type        = string
  default     = null

  validation {
    condition     = fileexists(coalesce(var.init_script, local.our_script))
    error_message = "There is no init script '${coalesce(var.init_script, local.our_script)}': give the path of one in init_script."
  }
}

variable "notebooks" {
  description = "Folder of the notebooks (*.ipynb, in it and in its folders) and of programs for jobs (*.py, in src/ and in its folders) to upload; null takes notebooks/ of this repository. The folder may be empty."
  type        = string
  default     = null
}

variable "recreate_on_change" {
  description = "Whether a change of any file replaces the cluster. If not, running nodes keep their files, and only nodes that start later get the change."
  type        = bool
  default     = false
  nullable    = false
}

variable "downloads" {
  description = "How nodes reach the package index: UV_DEFAULT_INDEX, UV_INDEX_URL, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE. Readable in the cluster's metadata, so without passwords."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.downloads), ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"])) == 0
    error_message = "downloads has ${join(", ", keys(var.downloads))}: the init script reads UV_DEFAULT_INDEX, UV_INDEX_URL, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."
  }

  validation {
    condition     = alltrue([for each in values(var.downloads) : !can(regex("://[^/?#\\s:@]*:[^/?#\\s@]+@|(?i:https?)://[^/?#\\s@]+@", each))])
    error_message = "An address in downloads has a password or token, which would be readable in Terraform's state and in the cluster's metadata: use an index or a proxy that knows the nodes by their network."
  }
}
