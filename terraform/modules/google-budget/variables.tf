variable "billing_account" {
  description = "Id of the billing account that pays for the project."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "billing_account is '${var.billing_account}': give an id such as 01AB23-45CD67-89EF01, which `gcloud billing projects describe PROJECT` prints."
  }
}

variable "project" {
  description = "Google Cloud project whose clusters are counted."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id, not its display name."
  }
}

variable "label" {
  description = "What is counted: clusters that carry this label with this value, such as { name = \"spark-sidecar\", value = \"vllm\" } or one of your own. Google takes one value."
  type        = object({ name = string, value = string })

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]{0,62}$", var.label.name)) && can(regex("^[a-z0-9_-]{1,63}$", var.label.value))
    error_message = "label is ${var.label.name}=${var.label.value}: names and values have at most 63 lower-case letters, digits, _ and -, and names begin with a letter."
  }
}

variable "amount" {
  description = "Amount per month, in the currency of the billing account."
  type        = number

  validation {
    condition     = var.amount >= 1 && floor(var.amount) == var.amount
    error_message = "amount is ${var.amount}: give a whole number of 1 or more."
  }
}

variable "thresholds" {
  description = "Percents of amount at which somebody is told, at most five."
  type        = set(number)
  default     = [50, 90, 100]
  nullable    = false

  validation {
    condition     = length(var.thresholds) >= 1 && length(var.thresholds) <= 5 && alltrue([for each in var.thresholds : each >= 1 && each <= 1000 && floor(each) == each])
    error_message = "thresholds is [${join(", ", var.thresholds)}]: give one to five whole percents, from 1 to 1000."
  }
}

variable "channels" {
  description = "Notification channels of Cloud Monitoring that are told, at most five, as projects/PROJECT/notificationChannels/ID; none tells the administrators of the billing account only."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.channels) <= 5 && alltrue([for each in var.channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", each))])
    error_message = "channels is [${join(", ", var.channels)}]: give at most five, each as projects/PROJECT/notificationChannels/ID."
  }
}

variable "name" {
  description = "Name of the budget."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "name is '${var.name}': give at most 60 letters, digits, _ and -."
  }
}
