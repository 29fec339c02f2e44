variable "volume" {
  description = "Path of the volume that the files are uploaded to, as the module databricks-volume returns it."
  type        = string

  validation {
    condition     = can(regex("^/Volumes/[^/]+/[^/]+/[^/]+$", var.volume))
    error_message = "volume is '${var.volume}': give /Volumes/catalog/schema/volume."
  }
}

variable "framework" {
  description = "What the nodes are made ready for, as the cluster has it: triton, torch, tf, vllm or vllm-latest."
  type        = string

  validation {
    condition     = contains(keys(local.frameworks), var.framework)
    error_message = "There is no framework '${var.framework}'. Choose one of: ${join(", ", keys(local.frameworks))}."
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
  description = "The script that makes each node ready; null takes the kit's, init-scripts/databricks.sh."
  type        = string
  default     = null

  validation {
    condition     = fileexists(coalesce(var.init_script, local.our_script))
    error_message = "There is no init script '${coalesce(var.init_script, local.our_script)}': give the path of one in init_script."
  }
}

variable "notebooks" {
  description = "Folder whose *.ipynb are uploaded; null takes the kit's, notebooks/. A folder without any uploads none."
  type        = string
  default     = null
}

variable "workspace_folder" {
  description = "Workspace folder for the notebooks; null takes spark-sidecar in the home of whoever runs Terraform."
  type        = string
  default     = null

  validation {
    condition     = var.workspace_folder == null ? true : can(regex("^/.*[^/]$", var.workspace_folder))
    error_message = "workspace_folder is '${coalesce(var.workspace_folder, "null")}': give a path such as /Shared/spark-sidecar, without a slash at its end."
  }
}
