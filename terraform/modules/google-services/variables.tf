variable "project" {
  description = "Google Cloud project in which the APIs are enabled."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id, not its display name."
  }
}

variable "more" {
  description = "Further APIs to enable, such as secretmanager.googleapis.com."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.more : endswith(each, ".googleapis.com")])
    error_message = "more is [${join(", ", var.more)}]: give full names, such as secretmanager.googleapis.com."
  }
}
