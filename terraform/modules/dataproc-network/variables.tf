variable "project" {
  description = "Google Cloud project of the network."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id, not its display name."
  }
}

variable "region" {
  description = "Region of the subnetwork and the NAT, the same as the cluster's."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is '${var.region}': give one such as us-central1, without a zone's letter."
  }
}

variable "name" {
  description = "Name of everything that is made, and the network tag of the nodes that the firewall rule is for."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,50}[a-z0-9]$", var.name))
    error_message = "name is '${var.name}': give 3 to 52 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "network" {
  description = "An existing network, such as projects/project-1/global/networks/default; null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.network == null ? true : can(regex("^projects/[^/]+/global/networks/[^/]+$", var.network))
    error_message = "network is '${coalesce(var.network, "null")}': give projects/PROJECT/global/networks/NAME."
  }
}

variable "subnetwork" {
  description = "An existing subnetwork of that network, such as projects/project-1/regions/us-central1/subnetworks/default; null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.subnetwork == null ? true : var.network != null && can(regex("^projects/[^/]+/regions/${var.region}/subnetworks/[^/]+$", var.subnetwork))
    error_message = "subnetwork is '${coalesce(var.subnetwork, "null")}': give projects/PROJECT/regions/${var.region}/subnetworks/NAME, and its network in network."
  }
}

variable "ip_range" {
  description = "Addresses of the subnetwork: the range of the one that is made, or of the existing one. Nodes may talk to each other within it."
  type        = string
  default     = "10.80.0.0/20"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.ip_range, 0)) && can(regex("/(8|9|1[0-9]|2[0-8])$", var.ip_range))
    error_message = "ip_range is '${var.ip_range}': give a range such as 10.80.0.0/20, not smaller than /28."
  }
}

variable "nat" {
  description = "Whether to make a NAT. Without one, nodes reach Google's services only: install from a bundle, or have a NAT already. A NAT costs money while it exists."
  type        = bool
  default     = true
  nullable    = false
}
