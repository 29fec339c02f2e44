variable "catalog" {
  description = "Catalog of Unity Catalog; it must exist already. null takes the workspace's only catalog, apart from those of the platform."
  type        = string
  default     = null

  validation {
    condition     = var.catalog == null ? true : can(regex("^[^/ .]+$", var.catalog))
    error_message = "catalog is '${coalesce(var.catalog, "null")}': give its name alone, without dots, slashes or spaces. `databricks catalogs list` shows the names."
  }
}

variable "name" {
  description = "Name of the schema."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[^/ .]+$", var.name))
    error_message = "name is '${var.name}': give the schema's name alone, without dots, slashes or spaces."
  }

  validation {
    condition     = !var.create || !contains(["default", "information_schema"], var.name)
    error_message = "The schema '${var.name}' exists in every catalog: set create = false, or give another name."
  }
}

variable "create" {
  description = "Whether to make the schema; if not, it must exist already."
  type        = bool
  default     = false
  nullable    = false
}

variable "comment" {
  description = "Comment on the schema that is made, shown in the catalog."
  type        = string
  default     = "Made by Spark Sidecar"
}
