variable "project" {
  description = "Google Cloud project of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]{6,100}$", var.project))
    error_message = "project is '${var.project}': give the project's id (not its name or number's title)."
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
  description = "Zone of the cluster, one that has the shape's GPUs: when Dataproc chooses a zone it does not look for them."
  type        = string

  validation {
    condition     = can(regex("^${var.region}-[a-z]$", var.zone))
    error_message = "zone is '${var.zone}': give a zone of ${var.region} that has the GPUs; `gcloud compute accelerator-types list` shows them."
  }
}

variable "shape" {
  description = "GPU model and number of GPUs of each node, such as l4x1 or a100x2: one of those Dataproc offers."
  type        = string

  validation {
    condition     = contains(keys(local.platform.shapes), var.shape)
    error_message = "dataproc has no shape '${var.shape}'. Choose one of: ${join(", ", keys(local.platform.shapes))}."
  }
}

variable "framework" {
  description = "What the nodes are made ready for: triton, torch, tf, vllm or vllm-latest."
  type        = string

  validation {
    condition     = contains(keys(local.platform.frameworks), var.framework)
    error_message = "There is no framework '${var.framework}'. Choose one of: ${join(", ", keys(local.platform.frameworks))}."
  }
}

variable "workers" {
  description = "Number of primary workers, at least 2; 0 makes a single-node cluster whose only node has the shape."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.workers == 0 || (var.workers >= 2 && floor(var.workers) == var.workers)
    error_message = "workers is ${var.workers}: Dataproc takes 2 or more, or 0 for a single-node cluster."
  }
}

variable "spot_workers" {
  description = "Number of secondary workers, which are spot instances of the same shape and may be taken away at any time."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.spot_workers >= 0 && floor(var.spot_workers) == var.spot_workers
    error_message = "spot_workers is ${var.spot_workers}: give a whole number, 0 for none."
  }
}

variable "autoscale" {
  description = "Bounds between which Dataproc changes the number of primary and of spot workers; null keeps both as they are."
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
  description = "Name of the cluster; other resources take theirs from it."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,39}[a-z0-9]$", var.name))
    error_message = "name is '${var.name}': give 3 to 41 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "image" {
  description = "Image of the nodes, one that the kit knows; null takes the platform's default, which has the GPU's driver."
  type        = string
  default     = null

  validation {
    condition     = var.image == null ? true : contains(keys(local.platform.runtimes), var.image)
    error_message = "The image '${coalesce(var.image, "null")}' is not known. Choose one of: ${join(", ", keys(local.platform.runtimes))}; never a sub-minor version, which makes a new cluster at every apply."
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
  description = "For machine types that do not bring their GPUs along; null where they do, as all in the catalogue do."
  type        = string
  default     = null

  validation {
    condition     = var.accelerator_type == null ? true : startswith(var.accelerator_type, "nvidia-")
    error_message = "accelerator_type is '${coalesce(var.accelerator_type, "null")}': give one such as nvidia-l4."
  }
}

variable "rapids" {
  description = "Whether Spark SQL uses the GPU as well (RAPIDS Accelerator); its jar must be on the cluster. Only for shapes with one GPU per node."
  type        = bool
  default     = false
  nullable    = false
}

variable "spark_conf" {
  description = "Spark settings that are added to the recommended ones, or replace them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.spark_conf) : startswith(key, "spark.")])
    error_message = "Keys of spark_conf begin with 'spark.'; these do not: ${join(", ", [for key in keys(var.spark_conf) : key if !startswith(key, "spark.")])}. Dataproc's own prefixes go into properties."
  }

  validation {
    condition     = alltrue([for key in keys(var.spark_conf) : !can(regex(local.secret_name, key))])
    error_message = "A setting whose name says that it is secret is readable in Spark's UI and in Terraform's state: let the job read it from Secret Manager, with the cluster's service account."
  }
}

variable "properties" {
  description = "Other properties of the cluster, with their prefix, such as yarn:yarn.log-aggregation-enable."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.properties) : can(regex("^[a-z-]+:.+", key)) && !startswith(key, "spark:")])
    error_message = "Keys of properties have a prefix, such as yarn: or dataproc:, and not spark:, whose settings go into spark_conf."
  }
}

variable "env" {
  description = "Variables of the executors' environment that are added to those of the framework, or replace them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.env) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key)) && !can(regex(local.secret_name, key))])
    error_message = "Names of env have letters, digits and _ only, and no secrets: those are readable in Spark's UI and in Terraform's state; read them from Secret Manager."
  }
}

variable "metadata" {
  description = "Metadata of the instances, by which the init script is told where its files are; the module dataproc-assets returns some."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "init_action" {
  description = "The gs:// address of the script that makes each node ready, as the module dataproc-assets returns it; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.init_action == null ? true : can(regex("^gs://[^/]+/.+", var.init_action))
    error_message = "init_action is '${coalesce(var.init_action, "null")}': give a gs:// address, to which dataproc-assets uploads the script."
  }
}

variable "init_timeout_s" {
  description = "Seconds that each init action may take. Dataproc's own 600 are too few: installing drivers alone took 15 minutes in Google's log."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.init_timeout_s >= 600
    error_message = "init_timeout_s is ${var.init_timeout_s}: give 600 or more; a script that runs out of time leaves a failed cluster that costs money."
  }
}

variable "subnetwork" {
  description = "Subnetwork of the nodes, with Private Google Access; null takes that of the network default in the region."
  type        = string
  default     = null
}

variable "internal_ip_only" {
  description = "Whether nodes have internal addresses only. They then reach the internet only through a NAT, and Google's services through Private Google Access."
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
  description = "E-mail of the service account that the nodes run as; the module dataproc-account makes one that may do no more than it must."
  type        = string

  validation {
    condition     = can(regex("^[^@]+@[^@]+\\.gserviceaccount\\.com$", var.service_account)) && !endswith(var.service_account, "-compute@developer.gserviceaccount.com")
    error_message = "service_account is '${var.service_account}': give the e-mail of an account of its own, not of the project's default one, which may do far too much."
  }
}

variable "staging_bucket" {
  description = "Name of the bucket for the cluster's own files, job output and notebooks, as the module gcs-bucket returns it."
  type        = string

  validation {
    condition     = !startswith(var.staging_bucket, "gs://") && length(var.staging_bucket) > 2
    error_message = "staging_bucket is '${var.staging_bucket}': give the bucket's name alone, without gs://."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS by which the disks are encrypted; null takes Google's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is '${coalesce(var.kms_key, "null")}': give projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "boot_disk_gb" {
  description = "Size of each node's disk: system, sealed environment, and the models on their way to the GPU."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.boot_disk_gb >= 100
    error_message = "boot_disk_gb is ${var.boot_disk_gb}: an environment with CUDA and one model take 100 or more."
  }
}

variable "secure_boot" {
  description = "Whether nodes load signed kernel modules only; null means yes, unless driver_init_action builds the GPU's driver, which is not signed."
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
  description = "Whether Jupyter and Spark's UI are reachable through Google's gateway, by IAM, instead of by SSH only."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels of the cluster, besides the module's own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Labels have lower-case letters, digits, _ and - only, at most 63 of them, and names begin with a letter."
  }
}
