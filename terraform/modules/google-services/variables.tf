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

variable "wait_s" {
  description = "Seconds that what uses project_with_agents waits after the APIs are enabled, once; 0 for a project that has had clusters."
  type        = number
  default     = 180
  nullable    = false

  validation {
    condition     = var.wait_s >= 0 && var.wait_s <= 1800 && floor(var.wait_s) == var.wait_s
    error_message = "wait_s is ${var.wait_s}: give whole seconds from 0 to 1800."
  }
}
