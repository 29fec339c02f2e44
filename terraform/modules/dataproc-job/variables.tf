variable "project" {
  description = "Google Cloud project of the cluster."
  type        = string
}

variable "region" {
  description = "Region of the cluster."
  type        = string
}

variable "name" {
  description = "Name of the workflow template: `gcloud dataproc workflow-templates instantiate NAME` runs it."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9_-]{1,48}[a-zA-Z0-9]$", var.name))
    error_message = "name is '${var.name}': give 3 to 50 letters, digits, '_' and '-', beginning and ending with a letter or digit."
  }
}

variable "cluster" {
  description = "Name of the cluster that runs the program, as the module dataproc returns it."
  type        = string
}

variable "program" {
  description = "The gs:// address of a Python program, such as the source of a notebook, as the module dataproc-assets returns it."
  type        = string

  validation {
    condition     = can(regex("^gs://[^/]+/.+\\.py$", var.program))
    error_message = "program is '${var.program}': give the gs:// address of a .py file, such as the source of a notebook, not an .ipynb."
  }
}

variable "args" {
  description = "Arguments of the program."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "labels" {
  description = "Labels of the template and its job, by which budgets and the bill count."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value)) && !startswith(key, "goog-")])
    error_message = "Names and values of labels have at most 63 lower-case letters, digits, _ and -, and names begin with a letter, not with goog-; labels are: ${join(", ", [for key, value in var.labels : "${key}=${value}"])}."
  }
}
