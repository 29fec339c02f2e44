variable "platform" {
  description = "databricks-aws, databricks-azure or databricks-gcp."
  type        = string

  validation {
    condition     = contains([for name in keys(local.catalogue) : name if startswith(name, "databricks-")], var.platform)
    error_message = "platform is '${var.platform}'. Choose one of: ${join(", ", [for name in keys(local.catalogue) : name if startswith(name, "databricks-")])}."
  }
}

variable "name" {
  description = "Name of the policy."
  type        = string
  default     = "Spark Sidecar"
  nullable    = false

  validation {
    condition     = length(trimspace(var.name)) > 0
    error_message = "name is empty: give the policy a name."
  }
}

variable "shapes" {
  description = "Shapes whose node types may be used."
  type        = set(string)

  validation {
    condition     = length(var.shapes) > 0 && alltrue([for name in var.shapes : contains(keys(local.platform.shapes), name)])
    error_message = "shapes are [${join(", ", var.shapes)}]. Choose among: ${join(", ", keys(local.platform.shapes))}."
  }
}

variable "init_script" {
  description = "Path of the init script, as the module databricks-assets returns it, that every cluster gets, and no other; null leaves it to the user."
  type        = string
  default     = null

  validation {
    condition     = var.init_script == null ? true : can(regex("^/Volumes/[^/]+/[^/]+/[^/]+/.+", var.init_script))
    error_message = "init_script is '${coalesce(var.init_script, "null")}': give a path such as /Volumes/catalog/schema/volume/databricks.sh."
  }
}

variable "max_workers" {
  description = "Largest number of workers, fixed or by autoscaling."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_workers >= 0 && floor(var.max_workers) == var.max_workers
    error_message = "max_workers is ${var.max_workers}: give a whole number, 0 for single nodes only."
  }
}

variable "max_idle_minutes" {
  description = "Most minutes without activity after which a cluster terminates."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.max_idle_minutes >= 10 && var.max_idle_minutes <= 10000
    error_message = "max_idle_minutes is ${var.max_idle_minutes}: Databricks takes 10 to 10000."
  }
}

variable "tags" {
  description = "Tags that every cluster gets, such as a cost centre: the cloud's bill shows them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^(${local.platform.tags.name})$", key)) && can(regex("^(${local.platform.tags.value})$", value)) && !anytrue([for each in local.platform.tags.prefixes : startswith(lower(key), each)])]) && length(var.tags) <= local.platform.tags.most && length(setintersection(keys(var.tags), local.platform.tags.reserved)) == 0
    error_message = "Each of at most ${local.platform.tags.most} tags is a ${local.platform.tags.called}, of ${local.platform.tags.what}, and none of ${join(", ", local.platform.tags.reserved)}; tags are: ${join(", ", [for key, value in var.tags : "${key}=${value}"])}."
  }
}

variable "budget_tags" {
  description = "Tags that every cluster must have, by which budgets count, with the values to choose from; an empty list allows any value."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, values in var.budget_tags : can(regex("^(${local.platform.tags.name})$", key)) && alltrue([for each in values : can(regex("^(${local.platform.tags.value})$", each))])]) && length(setintersection(keys(var.budget_tags), local.platform.tags.reserved)) == 0
    error_message = "Each of budget_tags is a ${local.platform.tags.called}, of ${local.platform.tags.what}, and none of ${join(", ", local.platform.tags.reserved)}; budget_tags are: ${join(", ", keys(var.budget_tags))}."
  }

  validation {
    condition     = length(setintersection(keys(var.tags), keys(var.budget_tags))) == 0
    error_message = "tags and budget_tags both have ${join(", ", setintersection(keys(var.tags), keys(var.budget_tags)))}: leave it out of budget_tags for one fixed value, or out of tags for a choice."
  }
}

variable "groups" {
  description = "Groups that may use the policy. Workspace admins always may."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "spot" {
  description = "Whether workers may be spot. The driver never is."
  type        = bool
  default     = true
  nullable    = false
}

variable "zones" {
  description = "Zones that clusters may be in, such as us-east-1a: those that sell the shapes; empty for any. Azure has no such choice."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.zones : can(regex(lookup(local.zone_names, var.platform, "^$"), each))])
    error_message = "zones are [${join(", ", var.zones)}]: give zones of ${var.platform}, such as us-east-1a on AWS and us-central1-a on Google Cloud; Azure has no choice, leave zones out."
  }
}
