variable "catalog" {
  description = "Catalog of Unity Catalog; it must be there already."
  type        = string

  validation {
    condition     = can(regex("^[^/ .]+$", var.catalog))
    error_message = "catalog is '${var.catalog}': give its name alone, without dots, slashes or spaces."
  }
}

variable "schema" {
  description = "Schema in the catalog."
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
  description = "What the volume is for, as the catalog shows it."
  type        = string
  default     = "Made by Spark Sidecar"
}

variable "keep" {
  description = "Whether `terraform destroy` leaves the volume with all that is in it, and says so, while it destroys the rest. To destroy it too, apply with false first."
  type        = bool
  nullable    = false
}
