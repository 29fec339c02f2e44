variable "name" {
  description = "Name of the bucket; it must be unique in all of Google Cloud."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.name)) && !can(regex("goog", var.name))
    error_message = "name is '${var.name}': give 3 to 63 lower-case letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, without 'goog'."
  }
}

variable "project" {
  description = "Google Cloud project of the bucket."
  type        = string
}

variable "location" {
  description = "Region of the bucket. Choose that of the cluster: reads from another region cost money."
  type        = string
}

variable "keep" {
  description = "Whether `terraform destroy` keeps the bucket if it is not empty: it destroys the rest, then ends with an error that says so. To destroy the bucket too, apply with false first."
  type        = bool
  nullable    = false
}

variable "kms_key" {
  description = "Cloud KMS key that encrypts the objects; null takes a key of Google's."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is '${coalesce(var.kms_key, "null")}': give projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "noncurrent_days" {
  description = "Days during which replaced or deleted objects can be restored; then they are deleted for good."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days is ${var.noncurrent_days}: give 1 or more."
  }
}

variable "labels" {
  description = "Labels of the bucket, by which budgets and the bill count."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value)) && !startswith(key, "goog-")])
    error_message = "Names and values of labels have at most 63 lower-case letters, digits, _ and -, and names begin with a letter, not with goog-; labels are: ${join(", ", [for key, value in var.labels : "${key}=${value}"])}."
  }
}
