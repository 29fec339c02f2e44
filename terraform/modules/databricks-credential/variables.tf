variable "name" {
  description = "Name of the credential, unique in the metastore."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.name))
    error_message = "name is '${var.name}': give letters, digits, _ and - only."
  }
}

variable "aws_role_arn" {
  description = "AWS: ARN of the role, which trusts Unity Catalog's role and itself."
  type        = string
  default     = null

  validation {
    condition     = var.aws_role_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/.+", var.aws_role_arn))
    error_message = "aws_role_arn is '${coalesce(var.aws_role_arn, "null")}': give one such as arn:aws:iam::123456789012:role/name."
  }
}

variable "azure_access_connector_id" {
  description = "Azure: resource id of the access connector, whose managed identity is used."
  type        = string
  default     = null

  validation {
    condition     = var.azure_access_connector_id == null ? true : can(regex("^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Databricks/accessConnectors/[^/]+$", var.azure_access_connector_id))
    error_message = "azure_access_connector_id is '${coalesce(var.azure_access_connector_id, "null")}': give /subscriptions/…/resourceGroups/…/providers/Microsoft.Databricks/accessConnectors/NAME."
  }
}

variable "principals" {
  description = "Users, groups or application ids of service principals that may use it: whom the cluster is dedicated to."
  type        = set(string)
  default     = []
  nullable    = false
}
