variable "catalog" {
  description = "Catalog of Unity Catalog; it must exist already."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.catalog))
    error_message = "catalog is '${var.catalog}': give its name alone, without dots, slashes or spaces."
  }
}

variable "schema" {
  description = "Schema in the catalog; it must exist already."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.schema))
    error_message = "schema is '${var.schema}': give its name alone, without dots, slashes or spaces."
  }
}

variable "name" {
  description = "Name of the volume."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.name))
    error_message = "name is '${var.name}': give the volume's name alone, without dots, slashes or spaces."
  }
}

variable "comment" {
  description = "Comment on the volume, shown in the catalog."
  type        = string
  default     = "Made by Spark Sidecar"
}

variable "keep" {
  description = "Whether `terraform destroy` keeps the volume and its content: it destroys the rest, then ends with an error that says so. To destroy the volume too, apply with false first."
  type        = bool
  nullable    = false
}
