variable "catalog" {
  description = "Catalog of Unity Catalog for the two volumes; it must be there already."
  type        = string
}

variable "schema" {
  description = "Schema in the catalog; it must be there already."
  type        = string
  default     = "default"
}

variable "prefix" {
  description = "What the names of the two volumes begin with."
  type        = string
  default     = "spark_sidecar"
}

variable "shape" {
  description = "GPU model and number of GPUs of each node; `spark-sidecar shapes` lists what AWS has."
  type        = string
  default     = "a10x1"
}

variable "framework" {
  description = "What the nodes are made ready for: triton, torch, tf, vllm or vllm-latest."
  type        = string
  default     = "vllm"
}

variable "workers" {
  description = "Number of workers; 0 makes a single-node cluster."
  type        = number
  default     = 2
}

variable "keep_store" {
  description = "Whether `terraform destroy` leaves the volume of models and data, and destroys the rest."
  type        = bool
  default     = true
}
