variable "instance_profile_arn" {
  description = "ARN of an instance profile of AWS, which exists already."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::\\d{12}:instance-profile/.+", var.instance_profile_arn))
    error_message = "instance_profile_arn is '${var.instance_profile_arn}': give one such as arn:aws:iam::123456789012:instance-profile/name."
  }
}

variable "iam_role_arn" {
  description = "ARN of the role in the profile; null if role and profile have the same name."
  type        = string
  default     = null

  validation {
    condition     = var.iam_role_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/.+", var.iam_role_arn))
    error_message = "iam_role_arn is '${coalesce(var.iam_role_arn, "null")}': give one such as arn:aws:iam::123456789012:role/name."
  }
}
