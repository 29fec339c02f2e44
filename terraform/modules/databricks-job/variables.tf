variable "name" {
  description = "Name of the job."
  type        = string

  validation {
    condition     = length(trimspace(var.name)) > 0
    error_message = "name is empty: give the job a name."
  }
}

variable "cluster_id" {
  description = "A cluster that exists and runs the notebook, as the module databricks returns it. The job starts it if it is not running. All-purpose clusters cost about twice as much as new_cluster. null only with new_cluster."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_id == null ? true : length(var.cluster_id) > 0
    error_message = "cluster_id is empty: give the cluster_id that the module databricks returns, or new_cluster."
  }
}

variable "new_cluster" {
  description = "A cluster of the job's own, which lives as long as a run: the output job_cluster of the module databricks with create = false. null only with cluster_id."
  type        = any
  default     = null

  validation {
    condition     = var.new_cluster == null ? true : can([var.new_cluster.spark_version, var.new_cluster.spark_conf, var.new_cluster.init_scripts])
    error_message = "new_cluster is no definition of a cluster: give the output job_cluster of the module databricks."
  }
}

variable "run_as" {
  description = "User (e-mail) or service principal (application id) that the job runs as; null is who applies this. A cluster of the job's own is dedicated to the same."
  type        = string
  default     = null

  validation {
    condition     = var.run_as == null ? true : can(regex("^([^@ ]+@[^@ ]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", var.run_as))
    error_message = "run_as is '${coalesce(var.run_as, "null")}': give a user's e-mail, or the application id of a service principal (a UUID, not its name)."
  }
}

variable "schedule" {
  description = "When the job runs: Quartz's cron expression, such as 0 0 3 * * ? for every night at three, and a timezone; null for by hand."
  type = object({
    cron     = string
    timezone = optional(string, "UTC")
    paused   = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.schedule == null ? true : contains([6, 7], length(split(" ", var.schedule.cron)))
    error_message = "schedule.cron is '${try(var.schedule.cron, "null")}': Quartz wants six fields, with the seconds first, such as 0 0 3 * * ?."
  }
}

variable "retries" {
  description = "How often a failed run is tried again. Runs that resume skip what is written already."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.retries >= 0 && var.retries <= 10 && floor(var.retries) == var.retries
    error_message = "retries is ${var.retries}: give a whole number from 0 to 10."
  }
}

variable "notify" {
  description = "E-mail addresses that are told when a run fails."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.notify : can(regex("^[^@ ]+@[^@ ]+$", each))])
    error_message = "notify is [${join(", ", var.notify)}]: give e-mail addresses."
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
  description = "Tags of the job, which its own cluster gets too: budgets count by them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 24
    error_message = "tags are ${length(var.tags)}: a job takes 24 beside the module's own; give those that all clusters share to the module databricks."
  }
}

variable "usage_policy_id" {
  description = "Serverless usage policy (budget policy) that pays for what of the job runs serverless. What runs on clusters is counted by tags. null takes the workspace's default."
  type        = string
  default     = null

  validation {
    condition     = var.usage_policy_id == null ? true : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.usage_policy_id))
    error_message = "usage_policy_id is '${coalesce(var.usage_policy_id, "null")}': give the policy's id (a UUID), not its name."
  }
}
