variable "scope" {
  description = "Name of the secret scope."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_@.-]{1,128}$", var.scope))
    error_message = "scope is '${var.scope}': give 1 to 128 letters, digits, _, -, @ and dots."
  }
}

variable "readers" {
  description = "Users, groups and service principals whose clusters may read the secrets."
  type        = set(string)
  default     = []
  nullable    = false
}
