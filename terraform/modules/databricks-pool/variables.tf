variable "platform" {
  description = "databricks-aws, databricks-azure or databricks-gcp."
  type        = string

  validation {
    condition     = contains([for name in keys(local.catalogue) : name if startswith(name, "databricks-")], var.platform)
    error_message = "platform is '${var.platform}'. Choose one of: ${join(", ", [for name in keys(local.catalogue) : name if startswith(name, "databricks-")])}."
  }
}

variable "shape" {
  description = "Shape of the nodes, the same as the clusters'."
  type        = string

  validation {
    condition     = contains(keys(local.platform.shapes), var.shape)
    error_message = "${var.platform} has no shape '${var.shape}'. Choose one of: ${join(", ", keys(local.platform.shapes))}."
  }
}

variable "allow_undocumented" {
  description = "Whether to take a node type that the platform's documents do not name, and that it may refuse."
  type        = bool
  default     = false
  nullable    = false
}

variable "name" {
  description = "Name of the pool."
  type        = string
  default     = "spark-sidecar"
  nullable    = false
}

variable "runtime" {
  description = "Runtime that idle nodes have loaded, the same as the clusters'; null takes the platform's default."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null ? true : contains(keys(local.platform.runtimes), var.runtime)
    error_message = "The runtime '${coalesce(var.runtime, "null")}' is not in the catalogue. Choose one of: ${join(", ", keys(local.platform.runtimes))}."
  }
}

variable "min_idle" {
  description = "Nodes that always wait. Each costs what the cloud takes for it, day and night; Databricks takes nothing."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.min_idle >= 0 && (var.max_capacity == null ? true : var.min_idle <= var.max_capacity)
    error_message = "min_idle is ${var.min_idle}: give 0 or more, and not more than max_capacity."
  }
}

variable "max_capacity" {
  description = "Most nodes, idle and in use; null for no limit."
  type        = number
  default     = null
}

variable "idle_minutes" {
  description = "Minutes after which nodes beyond min_idle are given back."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.idle_minutes >= 0 && var.idle_minutes <= 10000
    error_message = "idle_minutes is ${var.idle_minutes}: Databricks takes 0 to 10000."
  }
}

variable "tags" {
  description = "Tags of the pool's nodes, by which budgets count; clusters add none of their own to these."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^(${local.platform.tags.name})$", key)) && can(regex("^(${local.platform.tags.value})$", value)) && !anytrue([for each in local.platform.tags.prefixes : startswith(lower(key), each)])]) && length(var.tags) <= local.platform.tags.most && length(setintersection(keys(var.tags), local.platform.tags.reserved)) == 0
    error_message = "Each of at most ${local.platform.tags.most} tags is a ${local.platform.tags.called}, of ${local.platform.tags.what}, and none of ${join(", ", local.platform.tags.reserved)}; tags are: ${join(", ", [for key, value in var.tags : "${key}=${value}"])}."
  }
}
