variable "amount" {
  description = "US dollars per month, at list prices."
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
  description = "Percents of amount at which somebody is told, at most four."
  type        = set(number)
  default     = [100]
  nullable    = false

  validation {
    condition     = length(var.thresholds) >= 1 && length(var.thresholds) <= 4 && alltrue([for each in var.thresholds : each >= 1 && each <= 1000 && floor(each) == each])
    error_message = "thresholds is [${join(", ", var.thresholds)}]: give one to four whole percents, from 1 to 1000."
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

variable "workspaces" {
  description = "Ids of the workspaces that are counted; none counts all of the account."
  type        = list(number)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.workspaces : each > 0 && floor(each) == each])
    error_message = "workspaces is [${join(", ", var.workspaces)}]: give the numbers behind ?o= in the addresses of workspaces."
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
