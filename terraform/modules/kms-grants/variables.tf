variable "project" {
  description = "Google Cloud project of the cluster and the buckets; the key may be in another one."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id, not its display name."
  }
}

variable "kms_key" {
  description = "Cloud KMS key, in the region of the cluster and the buckets."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is '${var.kms_key}': give projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}
