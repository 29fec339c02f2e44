variable "project" {
  description = "Id of the Google Cloud project in which everything is created."
  type        = string
}

variable "region" {
  description = "Region in which everything is created."
  type        = string
  default     = "us-central1"
}

variable "zone" {
  description = "Zone of the cluster, one that has the shape's GPUs."
  type        = string
  default     = "us-central1-a"
}

variable "name" {
  description = "Name of the cluster and of its service account, and part of the buckets' names."
  type        = string
  default     = "spark-sidecar"
}

variable "shape" {
  description = "GPU model and number of GPUs of each node; `spark-sidecar shapes --platform dataproc` lists them. A T4 has no bfloat16: vLLM computes in float16 there."
  type        = string
  default     = "t4x1-small"
}

variable "framework" {
  description = "Framework that the nodes are prepared for, such as vllm; docs/nodes.md lists them."
  type        = string
  default     = "vllm"
}

variable "workers" {
  description = "Number of workers, at least 2; 0 makes a single-node cluster, which needs the least quota."
  type        = number
  default     = 0
}

variable "keep_store" {
  description = "Whether `terraform destroy` keeps the bucket of models and data if it is not empty."
  type        = bool
  default     = true
}
