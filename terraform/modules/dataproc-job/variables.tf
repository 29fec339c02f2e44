variable "project" {
  description = "Google Cloud project of the job and its cluster."
  type        = string
}

variable "region" {
  description = "Region of the job and its cluster."
  type        = string
}

variable "name" {
  description = "Name of the workflow template, and of its schedule: `gcloud dataproc workflow-templates instantiate NAME` runs it."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9_-]{1,48}[a-zA-Z0-9]$", var.name))
    error_message = "name is '${var.name}': give 3 to 50 letters, digits, '_' and '-', beginning and ending with a letter or digit."
  }
}

variable "cluster" {
  description = "Name of a cluster that exists and runs the program, as the module dataproc returns it. null only with new_cluster."
  type        = string
  default     = null
}

variable "new_cluster" {
  description = "A cluster of the job's own, which lives as long as a run: the output job_cluster of the module dataproc with create = false. null only with cluster."
  type        = any
  default     = null
}

variable "schedule" {
  description = "When the job runs: a unix cron expression, such as 0 3 * * * for every night at three, a timezone, and the service account that starts it; null for by hand."
  type        = object({ cron = string, service_account = string, timezone = optional(string, "UTC"), paused = optional(bool, false) })
  default     = null

  validation {
    condition     = var.schedule == null ? true : length(regexall("\\S+", var.schedule.cron)) == 5
    error_message = "schedule.cron is '${try(var.schedule.cron, "")}': Cloud Scheduler takes five fields (minute, hour, day of month, month, day of week), such as 0 3 * * *."
  }

  validation {
    condition     = var.schedule == null ? true : can(regex("^[^@]+@[^@]+\\.gserviceaccount\\.com$", var.schedule.service_account))
    error_message = "schedule.service_account is '${try(var.schedule.service_account, "")}': give the e-mail of a service account that may start the template."
  }
}

variable "retries" {
  description = "How often a failed program is tried again, on the same cluster. Runs that resume skip what is written already."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.retries >= 0 && var.retries <= 10 && floor(var.retries) == var.retries
    error_message = "retries is ${var.retries}: Dataproc takes a whole number from 0 to 10."
  }
}

variable "timeout_minutes" {
  description = "Minutes from the start of the program after which the run is cancelled, and the job's own cluster deleted; 0 for never. null takes 120 with new_cluster, and never with cluster."
  type        = number
  default     = null

  validation {
    condition     = var.timeout_minutes == null ? true : var.timeout_minutes == 0 || (var.timeout_minutes >= 10 && var.timeout_minutes <= 1440)
    error_message = "timeout_minutes is ${coalesce(var.timeout_minutes, 0)}: Dataproc takes 10 to 1440 (a day), or 0 for never."
  }
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
  description = "Labels of the template, its job and its own cluster, by which budgets and the bill count."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value)) && !startswith(key, "goog-")])
    error_message = "Names and values of labels have at most 63 lower-case letters, digits, _ and -, and names begin with a letter, not with goog-; labels are: ${join(", ", [for key, value in var.labels : "${key}=${value}"])}."
  }
}
