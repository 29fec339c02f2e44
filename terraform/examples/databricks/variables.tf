variable "platform" {
  description = "Cloud of the workspace: databricks-aws, databricks-azure or databricks-gcp."
  type        = string
}

variable "catalog" {
  description = "Catalog of Unity Catalog for the two volumes; it must exist already. null takes the workspace's only one. `databricks catalogs list` shows them."
  type        = string
  default     = null
}

variable "schema" {
  description = "Schema in the catalog."
  type        = string
  default     = "default"
}

variable "create_schema" {
  description = "Whether to make the schema; if not, it must exist already."
  type        = bool
  default     = false
}

variable "principal" {
  description = "User, group or service principal (application id) that the cluster is dedicated to, and that may restart it and use the volumes; null takes who applies this."
  type        = string
  default     = null
}

variable "prefix" {
  description = "Prefix of the names of the two volumes."
  type        = string
  default     = "spark_sidecar"
}

variable "shape" {
  description = "GPU model and number of GPUs of each node, such as a10x1; `spark-sidecar shapes` lists those of each platform. null takes a small node: a10x1-small, on Azure t4x1-small, on Google Cloud l4x1-small."
  type        = string
  default     = null
}

variable "framework" {
  description = "Framework that the nodes are prepared for, such as vllm; docs/nodes.md lists them."
  type        = string
  default     = "vllm"
}

variable "workers" {
  description = "Number of workers; 0 makes a single-node cluster, which needs the least quota."
  type        = number
  default     = 0
}

variable "keep_store" {
  description = "Whether `terraform destroy` keeps the volume of models and data."
  type        = bool
  default     = true
}
