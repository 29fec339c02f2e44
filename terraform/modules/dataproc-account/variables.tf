variable "project" {
  description = "Google Cloud project of the account and of the cluster."
  type        = string
}

variable "account_id" {
  description = "Id of the service account: the part of its e-mail before the @."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.account_id))
    error_message = "account_id is '${var.account_id}': give 6 to 30 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "buckets" {
  description = "Buckets whose objects the nodes may read and write, as label => name of the bucket. Labels are yours to choose; they must be known before apply."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "roles" {
  description = "Roles on the project in addition to roles/dataproc.worker, such as roles/secretmanager.secretAccessor."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.roles : can(regex("^(roles|(projects|organizations)/[^/]+/roles)/.+", each))])
    error_message = "roles are [${join(", ", var.roles)}]: give each as roles/service.name, or as the path of a custom role."
  }

  validation {
    condition     = alltrue([for each in var.roles : !contains(["roles/owner", "roles/editor", "roles/iam.securityAdmin"], each)])
    error_message = "roles/owner, roles/editor and roles/iam.securityAdmin let any notebook change the whole project: name the narrower role that is needed."
  }
}
