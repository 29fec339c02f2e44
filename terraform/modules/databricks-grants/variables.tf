variable "principal" {
  description = "Whom the cluster is dedicated to: a user's e-mail, a group's name, or the application id of a service principal."
  type        = string

  validation {
    condition     = length(trimspace(var.principal)) > 0
    error_message = "principal is empty: give a user's e-mail, a group's name, or the application id of a service principal."
  }
}

variable "catalog" {
  description = "Name of the catalog."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.catalog))
    error_message = "catalog is '${var.catalog}': give its name alone, without dots, slashes or spaces."
  }
}

variable "schema" {
  description = "Name of the schema in the catalog."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.schema))
    error_message = "schema is '${var.schema}': give its name alone, without dots, slashes or spaces."
  }
}

variable "read_volumes" {
  description = "Names of volumes in the schema that the principal may read."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.read_volumes : can(regex("^[^/ .]+$", name))])
    error_message = "read_volumes are [${join(", ", var.read_volumes)}]: give the names of volumes alone, not their paths."
  }
}

variable "write_volumes" {
  description = "Names of volumes in the schema that the principal may read and write: init scripts, logs, models, data."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.write_volumes : can(regex("^[^/ .]+$", name))])
    error_message = "write_volumes are [${join(", ", var.write_volumes)}]: give the names of volumes alone, not their paths."
  }
}

variable "grant_catalog" {
  description = "Whether to grant USE CATALOG too. It replaces whatever else the principal may do with the catalog itself, and only the catalog's owner may grant it."
  type        = bool
  default     = false
  nullable    = false
}

variable "grant_schema" {
  description = "Whether to grant USE SCHEMA too. It replaces whatever else the principal may do with the schema itself."
  type        = bool
  default     = false
  nullable    = false
}

variable "clusters" {
  description = "Clusters that the principal may attach notebooks to and restart: a name of your choice -> cluster_id. It replaces the permissions of everybody else but the owner and admins."
  type        = map(string)
  default     = {}
  nullable    = false
}
