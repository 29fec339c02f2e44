variable "volume" {
  description = "Path of the volume that the files are uploaded to, as the module databricks-volume returns it."
  type        = string

  validation {
    condition     = can(regex("^/Volumes/[^/]+/[^/]+/[^/]+$", var.volume))
    error_message = "volume is '${var.volume}': give /Volumes/catalog/schema/volume."
  }
}

variable "wheel" {
  description = "The kit's wheel; null takes the only one in dist/."
  type        = string
  default     = null

  validation {
    condition     = var.wheel == null ? length(local.built) == 1 : endswith(var.wheel, ".whl") && fileexists(var.wheel)
    error_message = var.wheel == null ? "There are ${length(local.built)} wheels in dist/: run `rm -rf dist` and `uv build --wheel`, or name one in wheel." : "There is no wheel '${coalesce(var.wheel, "null")}': run `uv build --wheel` and give the path of what it makes."
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
