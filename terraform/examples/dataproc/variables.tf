variable "project" {
  description = "Google Cloud project of everything."
  type        = string
}

variable "region" {
  description = "Region of everything."
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
  description = "GPU model and number of GPUs of each node; `spark-sidecar shapes` lists what Dataproc has."
  type        = string
  default     = "l4x1"
}

variable "framework" {
  description = "What the nodes are made ready for: triton, torch, tf, vllm or vllm-latest."
  type        = string
  default     = "vllm"
}

variable "workers" {
  description = "Number of workers, at least 2; 0 makes a single-node cluster."
  type        = number
  default     = 2
}

variable "keep_store" {
  description = "Whether `terraform destroy` leaves the bucket of models and data, if there is anything in it, and destroys the rest."
  type        = bool
  default     = true
}
