variable "volume" {
  description = "Path of the volume that the files are uploaded to, as the module databricks-volume returns it."
  type        = string

  validation {
    condition     = can(regex("^/Volumes/[^/]+/[^/]+/[^/]+$", var.volume))
    error_message = "volume is '${var.volume}': give /Volumes/catalog/schema/volume."
  }
}

variable "framework" {
  description = "Framework that the nodes are prepared for, the same as the cluster's, such as vllm; docs/nodes.md lists them."
  type        = string

  validation {
    condition     = contains(keys(local.frameworks), var.framework)
    error_message = "There is no framework '${var.framework}'. Choose one of: ${join(", ", keys(local.frameworks))}."
  }

  validation {
    condition     = try(local.frameworks[var.framework].refused, null) == null
    error_message = try(coalesce(local.frameworks[var.framework].refused), "There is no framework '${var.framework}'.")
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
  description = "Path of the init script that prepares each node; null takes init-scripts/databricks.sh of this repository."
  type        = string
  default     = null

  validation {
    condition     = fileexists(coalesce(var.init_script, local.our_script))
    error_message = "There is no init script '${coalesce(var.init_script, local.our_script)}': give the path of one in init_script."
  }
}

variable "notebooks" {
  description = "Folder of the notebooks to upload (*.ipynb, in it and in its folders); null takes notebooks/ of this repository. The folder may be empty."
  type        = string
  default     = null
}

variable "workspace_folder" {
  description = "Workspace folder for the notebooks; null takes spark-sidecar in the home of the user that runs Terraform."
  type        = string
  default     = null

  validation {
    condition     = var.workspace_folder == null ? true : can(regex("^/.*[^/]$", var.workspace_folder))
    error_message = "workspace_folder is '${coalesce(var.workspace_folder, "null")}': give a path such as /Shared/spark-sidecar, without a slash at the end."
  }
}

variable "downloads" {
  description = "How nodes reach the package index: UV_DEFAULT_INDEX, UV_INDEX_URL, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE. Readable in the volume, so without passwords."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.downloads), ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"])) == 0
    error_message = "downloads has ${join(", ", keys(var.downloads))}: the init script reads UV_DEFAULT_INDEX, UV_INDEX_URL, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."
  }

  validation {
    condition     = alltrue([for each in values(var.downloads) : !can(regex("://[^/?#\\s:@]*:[^/?#\\s@]+@|(?i:https?)://[^/?#\\s@]+@", each))])
    error_message = "An address in downloads has a password or token, which would be readable in Terraform's state and in the volume: use an index or a proxy that knows the nodes by their network."
  }
}

variable "workers" {
  description = "Number of workers of the clusters that use these files, for runtime 19 and later, whose init scripts may not see the cluster's variables; null leaves it to the variable."
  type        = number
  default     = null

  validation {
    condition     = var.workers == null ? true : var.workers >= 0 && floor(var.workers) == var.workers
    error_message = "workers is ${coalesce(var.workers, -1)}: give a whole number, 0 for a single node."
  }
}
