variable "project" {
  description = "Google Cloud project of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id, not its display name."
  }
}

variable "region" {
  description = "Region of the cluster, such as us-central1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is '${var.region}': give one such as us-central1, without a zone's letter."
  }
}

variable "zone" {
  description = "Zone of the cluster, one that has the shape's GPUs. It is required, because Dataproc ignores GPUs when it chooses a zone."
  type        = string

  validation {
    condition     = can(regex("^${var.region}-[a-z]$", var.zone))
    error_message = "zone is '${var.zone}': give a zone of ${var.region} that has the GPUs; `gcloud compute accelerator-types list` shows them."
  }
}

variable "shape" {
  description = "GPU model and number of GPUs of each node, such as l4x1 or a100x2: one that Dataproc offers. null only with node."
  type        = string
  default     = null

  validation {
    condition     = var.node != null || contains(keys(local.platform.shapes), coalesce(var.shape, "null"))
    error_message = "dataproc has no shape '${coalesce(var.shape, "null")}'. Choose one of: ${join(", ", keys(local.platform.shapes))}; or describe a node of your own in node."
  }

  validation {
    condition     = var.node == null || var.shape == null
    error_message = "shape is '${coalesce(var.shape, "null")}', and node describes another node: leave one of them out."
  }
}

variable "node" {
  description = "A node of your own choice instead of a shape, with its numbers, which are looked up nowhere: vCPUs and memory of the whole node, memory of one GPU."
  type = object({
    node_type      = string
    gpus           = number
    vcpus          = number
    ram_gib        = number
    gpu_memory_gib = number
    accelerator    = optional(string)
  })
  default = null

  validation {
    condition     = var.node == null ? true : contains([1, 2, 4, 8, 16], var.node.gpus) && var.node.vcpus >= 2 && var.node.ram_gib >= 14 && var.node.gpu_memory_gib >= 8 && length(trimspace(var.node.node_type)) > 0
    error_message = "node must have a node_type, 1, 2, 4, 8 or 16 gpus, at least 2 vcpus, 14 ram_gib (of the whole node) and 8 gpu_memory_gib (of one GPU)."
  }
}

variable "allow_undocumented" {
  description = "Whether to take a node type that the platform's documents do not name, and that it may refuse."
  type        = bool
  default     = false
  nullable    = false
}

variable "framework" {
  description = "Framework that the nodes are prepared for, such as vllm; docs/nodes.md lists them."
  type        = string

  validation {
    condition     = contains(keys(local.platform.frameworks), var.framework)
    error_message = "There is no framework '${var.framework}'. Choose one of: ${join(", ", keys(local.platform.frameworks))}."
  }
}

variable "workers" {
  description = "Number of primary workers, at least 2; 0 makes a single-node cluster, whose only node has the shape."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.workers == 0 || (var.workers >= 2 && floor(var.workers) == var.workers)
    error_message = "workers is ${var.workers}: Dataproc takes 2 or more, or 0 for a single-node cluster."
  }
}

variable "create" {
  description = "Whether to make the cluster. If not, only the output job_cluster is of use, for a job's own cluster. With autoscale its policy is made all the same, so give a name that no cluster of the region has."
  type        = bool
  default     = true
  nullable    = false
}

variable "spot_workers" {
  description = "Number of secondary workers: spot instances of the same shape, which Google may take back at any time."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.spot_workers >= 0 && floor(var.spot_workers) == var.spot_workers
    error_message = "spot_workers is ${var.spot_workers}: give a whole number, 0 for none."
  }
}

variable "autoscale" {
  description = "Smallest and largest number of primary workers, and largest number of spot workers, between which Dataproc scales the cluster; null for fixed numbers."
  type = object({
    min_workers      = optional(number, 2)
    max_workers      = number
    max_spot_workers = optional(number, 0)
  })
  default = null

  validation {
    condition     = var.autoscale == null ? true : 2 <= var.autoscale.min_workers && var.autoscale.min_workers <= var.autoscale.max_workers && var.autoscale.max_spot_workers >= 0
    error_message = "autoscale must have 2 <= min_workers <= max_workers, and max_spot_workers of 0 or more."
  }
}

variable "name" {
  description = "Name of the cluster, and id of its autoscaling policy."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,39}[a-z0-9]$", var.name))
    error_message = "name is '${var.name}': give 3 to 41 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "image" {
  description = "Image of the nodes that is in the catalogue, such as 2.3-ml-ubuntu22; null takes the platform's default, which has the GPU driver."
  type        = string
  default     = null

  validation {
    condition     = var.image == null ? true : contains(keys(local.platform.runtimes), var.image)
    error_message = "The image '${coalesce(var.image, "null")}' is not in the catalogue. Choose one of: ${join(", ", keys(local.platform.runtimes))}; never a sub-minor version, with which every apply replaces the cluster."
  }
}

variable "driver_init_action" {
  description = "For images without a GPU driver: the gs:// address of your own copy of Google's install_gpu_driver.sh. It runs before init_action."
  type        = string
  default     = null

  validation {
    condition     = var.driver_init_action == null ? true : can(regex("^gs://[^/]+/.+", var.driver_init_action))
    error_message = "driver_init_action is '${coalesce(var.driver_init_action, "null")}': give the gs:// address of your own copy."
  }
}

variable "master_machine_type" {
  description = "Machine type of the master; null takes the platform's default. It runs no executor and needs no GPU. Not for single-node clusters."
  type        = string
  default     = null

  validation {
    condition     = var.master_machine_type == null ? true : can(regex("^[a-z0-9]+-[a-z0-9]+(-[a-z0-9]+)*$", var.master_machine_type))
    error_message = "master_machine_type is '${coalesce(var.master_machine_type, "null")}': give one such as n2-standard-8."
  }
}

variable "accelerator_type" {
  description = "GPU type to attach, for machine types without GPUs of their own; null takes what the shape says. Dataproc takes them for primary workers only."
  type        = string
  default     = null

  validation {
    condition     = var.accelerator_type == null ? true : startswith(var.accelerator_type, "nvidia-")
    error_message = "accelerator_type is '${coalesce(var.accelerator_type, "null")}': give one such as nvidia-l4."
  }
}

variable "rapids" {
  description = "Whether Spark SQL runs on the GPU too (RAPIDS Accelerator). Its jar must be on the cluster. Only for shapes with one GPU per node."
  type        = bool
  default     = false
  nullable    = false
}

variable "spark_conf" {
  description = "Spark settings, added to the recommended ones. A setting with the same name replaces the recommended one."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.spark_conf) : startswith(key, "spark.")])
    error_message = "Keys of spark_conf begin with 'spark.'; these do not: ${join(", ", [for key in keys(var.spark_conf) : key if !startswith(key, "spark.")])}. Dataproc's own prefixes go into properties."
  }

  validation {
    condition     = alltrue([for key, value in var.spark_conf : !can(regex(local.secret_name, key)) && !can(regex(local.secret_address, value))])
    error_message = "spark_conf has a setting with a name like a secret's (password, token, key), or with a password or token in an address, which would be readable in Spark's UI and in Terraform's state: let the job read it from Secret Manager, with the cluster's service account."
  }
}

variable "properties" {
  description = "Other cluster properties, with their prefix, such as yarn:yarn.log-aggregation-enable."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.properties) : can(regex("^[a-z-]+:.+", key)) && !startswith(key, "spark:")])
    error_message = "Keys of properties have a prefix, such as yarn: or dataproc:, but not spark:. Spark settings go into spark_conf."
  }
}

variable "env" {
  description = "Environment variables of the executors, added to those of the framework. A variable with the same name replaces the framework's."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.env : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key)) && !can(regex(local.secret_name, key)) && !can(regex(local.secret_address, value))])
    error_message = "Names of env have letters, digits and _ only, and are not like a secret's (password, token, key); values have no password or token in an address: a secret would be readable in Spark's UI and in Terraform's state. Read secrets from Secret Manager."
  }
}

variable "metadata" {
  description = "Metadata of the instances. The init script reads from it where its files are, as the module dataproc-assets returns it."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.metadata : !can(regex(local.secret_name, key)) && !can(regex(local.secret_address, value))])
    error_message = "metadata has a name like a secret's (password, token, key), or a password or token in an address, which everybody who may see the cluster could read: let the job read it from Secret Manager, or use a package index or proxy that knows the nodes by their network."
  }
}

variable "init_action" {
  description = "The gs:// address of the init script that prepares each node, as the module dataproc-assets returns it; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.init_action == null ? true : can(regex("^gs://[^/]+/.+", var.init_action))
    error_message = "init_action is '${coalesce(var.init_action, "null")}': give a gs:// address, to which dataproc-assets uploads the script."
  }

  # Only our own script, by its name, needs the metadata: one of the user's may have all that it needs.
  validation {
    condition     = var.init_action == null ? true : !endswith(var.init_action, "/dataproc.sh") || startswith(lookup(var.metadata, "spark-sidecar-bundle", ""), "gs://")
    error_message = "init_action is '${coalesce(var.init_action, "null")}', which fails on each node without the metadata spark-sidecar-bundle, the gs:// address of our wheel: set metadata to the output metadata of the module dataproc-assets."
  }
}

variable "init_timeout_s" {
  description = "Seconds that each init action may take; null takes 1800. Dataproc's default of 600 is too short: in a log of Google's, installing drivers alone took 15 minutes."
  type        = number
  default     = null

  validation {
    condition     = var.init_timeout_s == null ? true : var.init_timeout_s >= 600
    error_message = "init_timeout_s is ${coalesce(var.init_timeout_s, 0)}: give 600 or more. If a script takes longer, the cluster fails but keeps running, and costs money."
  }
}

variable "subnetwork" {
  description = "Subnetwork of the nodes, with Private Google Access; null takes the region's subnetwork of the network named default."
  type        = string
  default     = null
}

variable "internal_ip_only" {
  description = "Whether nodes have internal IP addresses only. They then reach the internet only through a NAT, and Google's services through Private Google Access."
  type        = bool
  default     = true
  nullable    = false
}

variable "network_tags" {
  description = "Network tags of the nodes, for firewall rules."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "service_account" {
  description = "E-mail of the service account that the nodes run as; the module dataproc-account makes one with the fewest roles."
  type        = string

  validation {
    condition     = can(regex("^[^@]+@[^@]+\\.gserviceaccount\\.com$", var.service_account)) && !endswith(var.service_account, "-compute@developer.gserviceaccount.com")
    error_message = "service_account is '${var.service_account}': give the e-mail of a dedicated account, not of the project's default one, which has far too many permissions."
  }
}

variable "staging_bucket" {
  description = "Name of the bucket for the files, job output and notebooks of the cluster, as the module gcs-bucket returns it."
  type        = string

  validation {
    condition     = !startswith(var.staging_bucket, "gs://") && length(var.staging_bucket) > 2
    error_message = "staging_bucket is '${var.staging_bucket}': give the bucket's name alone, without gs://."
  }
}

variable "kms_key" {
  description = "Cloud KMS key that encrypts the disks; null takes a key of Google's."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is '${coalesce(var.kms_key, "null")}': give projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "boot_disk_gb" {
  description = "Size of each node's disk, for the system, the sealed environment and downloaded models; null takes 500."
  type        = number
  default     = null

  validation {
    condition     = var.boot_disk_gb == null ? true : var.boot_disk_gb >= 100
    error_message = "boot_disk_gb is ${coalesce(var.boot_disk_gb, 0)}: give 100 or more, for an environment with CUDA and one model."
  }
}

variable "local_ssds" {
  description = "NVMe disks of 375 GB of each worker, to which models are downloaded. a2-ultragpu, a3 and a4 machines bring their own; g2 takes 1, 2, 4 or 8 by its size."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 2, 4, 8, 16, 24], var.local_ssds)
    error_message = "local_ssds is ${var.local_ssds}: a machine of Google Cloud takes 0, 1, 2, 4, 8, 16 or 24."
  }
}

variable "secure_boot" {
  description = "Whether nodes load signed kernel modules only; null means yes, except with driver_init_action, which builds a GPU driver that is not signed."
  type        = bool
  default     = null
}

variable "idle_delete_minutes" {
  description = "Minutes without a job after which the cluster is deleted; null keeps it."
  type        = number
  default     = 60

  validation {
    condition     = var.idle_delete_minutes == null ? true : var.idle_delete_minutes >= 5 && var.idle_delete_minutes <= 20160
    error_message = "idle_delete_minutes is ${coalesce(var.idle_delete_minutes, 0)}: Dataproc takes 5 to 20160 (14 days), or null for never."
  }
}

variable "component_gateway" {
  description = "Whether Google's component gateway serves Jupyter and Spark's UI to users with permission (IAM); if not, they are reachable by SSH only."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels of the cluster and its machines, in addition to the module's own: budgets and the bill count by them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^(${local.platform.tags.name})$", key)) && can(regex("^(${local.platform.tags.value})$", value)) && !anytrue([for each in local.platform.tags.prefixes : startswith(lower(key), each)])]) && length(var.labels) <= local.platform.tags.most
    error_message = "Each of at most ${local.platform.tags.most} labels is of ${local.platform.tags.what}, and Google's own begin with goog-; labels are: ${join(", ", [for key, value in var.labels : "${key}=${value}"])}."
  }
}
