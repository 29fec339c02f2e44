variable "subscription_id" {
  description = "Id of the subscription that the workspace is in."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id is '${var.subscription_id}': give the id alone, which `az account show --query id` prints."
  }
}

variable "amount" {
  description = "Amount per month, in the currency of the subscription."
  type        = number

  validation {
    condition     = var.amount >= 1 && floor(var.amount) == var.amount
    error_message = "amount is ${var.amount}: give a whole number of 1 or more."
  }
}

variable "emails" {
  description = "E-mail addresses that are told."
  type        = set(string)

  validation {
    condition     = length(var.emails) > 0 && alltrue([for each in var.emails : can(regex("^[^@ ]+@[^@ ]+$", each))])
    error_message = "emails is [${join(", ", var.emails)}]: give at least one address, or nobody is told."
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

variable "tag" {
  description = "What is counted: clusters, jobs and pools that carry a tag of this name with one of these values; null counts all that the modules of this repository make."
  type        = object({ name = string, values = set(string) })
  default     = null

  validation {
    condition     = var.tag == null ? true : length(trimspace(var.tag.name)) > 0 && length(var.tag.values) > 0
    error_message = "tag has the name '${try(var.tag.name, "")}' and ${try(length(var.tag.values), 0)} values: give a name and at least one value, such as { name = \"team\", values = [\"inference\"] }."
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
