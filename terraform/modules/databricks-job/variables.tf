variable "name" {
  description = "Name of the job."
  type        = string

  validation {
    condition     = length(trimspace(var.name)) > 0
    error_message = "name is empty: give the job a name."
  }
}

variable "cluster_id" {
  description = "The cluster that runs the notebook, as the module databricks returns it. The job starts it if it is not running."
  type        = string

  validation {
    condition     = length(var.cluster_id) > 0
    error_message = "cluster_id is empty: give the cluster_id that the module databricks returns."
  }
}

variable "notebook" {
  description = "Workspace path of the notebook, without an extension, as the module databricks-assets returns it."
  type        = string

  validation {
    condition     = startswith(var.notebook, "/") && !endswith(var.notebook, ".ipynb")
    error_message = "notebook is '${var.notebook}': give a workspace path that begins with / and does not end with .ipynb."
  }
}

variable "parameters" {
  description = "Parameters of the notebook, which reads them as widgets: values are text."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "timeout_minutes" {
  description = "Minutes after which the run is cancelled; 0 for never."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.timeout_minutes >= 0
    error_message = "timeout_minutes is ${var.timeout_minutes}: give minutes, or 0 for no limit."
  }
}

variable "tags" {
  description = "Tags of the job."
  type        = map(string)
  default     = {}
  nullable    = false
}
