variable "shape" {
  description = "GPU model and number of GPUs of each node, such as a10x1 or h100x8: one that the platform offers. null only with node."
  type        = string
  default     = null

  validation {
    condition     = var.node != null || contains(keys(local.platform.shapes), coalesce(var.shape, "null"))
    error_message = "${local.platform_name} has no shape '${coalesce(var.shape, "null")}'. Choose one of: ${join(", ", keys(local.platform.shapes))}; or describe a node of your own in node."
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
  })
  default = null

  validation {
    condition     = var.node == null ? true : contains([1, 2, 4, 8, 16], var.node.gpus) && var.node.vcpus >= 2 && var.node.ram_gib >= 14 && var.node.gpu_memory_gib >= 8 && length(trimspace(var.node.node_type)) > 0
    error_message = "node must have a node_type, 1, 2, 4, 8 or 16 gpus, at least 2 vcpus, 14 ram_gib (of the whole node) and 8 gpu_memory_gib (of one GPU)."
  }
}

variable "create" {
  description = "Whether to make the cluster. If not, only the output job_cluster is of use, for a job's own cluster."
  type        = bool
  default     = true
  nullable    = false
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

  validation {
    condition     = try(local.platform.frameworks[var.framework].refused, null) == null
    error_message = try(coalesce(local.platform.frameworks[var.framework].refused), "There is no framework '${var.framework}'.")
  }
}

variable "workers" {
  description = "Number of workers. null means 2, unless autoscale is set. 0 makes a single-node cluster, whose only node has the shape."
  type        = number
  default     = null

  validation {
    condition     = var.workers == null ? true : var.workers >= 0 && floor(var.workers) == var.workers
    error_message = "workers is ${coalesce(var.workers, 2)}: give a whole number, 0 for a single-node cluster."
  }
}

variable "platform" {
  description = "databricks-aws, databricks-azure or databricks-gcp; null takes the cloud of the workspace."
  type        = string
  default     = null

  validation {
    condition     = var.platform == null ? true : contains(local.databricks_platforms, var.platform)
    error_message = "platform is '${coalesce(var.platform, "null")}'. Choose one of: ${join(", ", local.databricks_platforms)}."
  }
}

variable "name" {
  description = "Name of the cluster."
  type        = string
  default     = "spark-sidecar"
  nullable    = false

  validation {
    condition     = length(trimspace(var.name)) > 0 && length(var.name) <= 100
    error_message = "name has ${length(var.name)} characters: give it 1 to 100, not only spaces."
  }
}

variable "runtime" {
  description = "Key of a GPU runtime for machine learning that is in the catalogue, such as 17.3.x-gpu-ml-scala2.13; null takes the platform's default."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null ? true : contains(keys(local.platform.runtimes), var.runtime)
    error_message = "The runtime '${coalesce(var.runtime, "null")}' is not in the catalogue. Choose one of: ${join(", ", keys(local.platform.runtimes))}."
  }
}

variable "driver_node_type" {
  description = "Node type of the driver; null takes the platform's default, which has a GPU. A warning is shown for one that is not known to have GPUs. Not for single-node clusters."
  type        = string
  default     = null

  validation {
    condition     = var.driver_node_type == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._-]+$", var.driver_node_type))
    error_message = "driver_node_type is '${coalesce(var.driver_node_type, "null")}': give a node type such as ${local.platform.driver_node_type}."
  }
}

variable "alternative_shapes" {
  description = "Shapes whose node types Databricks may use for workers if shape has no capacity. Databricks' rule: the same vCPUs and local disks, and 100 to 110 % of the memory; ours: the same number of GPUs."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.alternative_shapes : contains(keys(local.platform.shapes), each)])
    error_message = "alternative_shapes are [${join(", ", var.alternative_shapes)}]. Choose among: ${join(", ", keys(local.platform.shapes))}."
  }
}

variable "autoscale" {
  description = "Smallest and largest number of workers, between which Databricks scales the cluster; null for the fixed number in `workers`."
  type = object({
    min_workers = number
    max_workers = number
  })
  default = null

  validation {
    condition     = var.autoscale == null ? true : 1 <= var.autoscale.min_workers && var.autoscale.min_workers < var.autoscale.max_workers
    error_message = "autoscale must have 1 <= min_workers < max_workers; for a fixed number set autoscale to null and use workers."
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
    error_message = "Keys of spark_conf begin with 'spark.'; these do not: ${join(", ", [for key in keys(var.spark_conf) : key if !startswith(key, "spark.")])}. Variables of the environment go into env."
  }

  validation {
    condition     = alltrue([for key, value in var.spark_conf : !can(regex(local.secret_name, key)) && !can(regex(local.secret_address, value)) || can(regex(local.secret_reference, value))])
    error_message = "The value of a Spark setting with a name like a secret's (password, token, key), or with a password or token in an address, must be a reference such as {{secrets/scope/key}}: everything else is readable in Spark's UI and in Terraform's state."
  }
}

variable "env" {
  description = "Environment variables of the nodes, added to those of the framework. A variable with the same name replaces the framework's."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.env) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key))])
    error_message = "Names of env have letters, digits and _ only; these do not: ${join(", ", [for key in keys(var.env) : key if !can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key))])}. Spark settings go into spark_conf."
  }

  validation {
    condition     = alltrue([for key, value in var.env : !can(regex(local.secret_name, key)) && !can(regex(local.secret_address, value)) || can(regex(local.secret_reference, value))])
    error_message = "The value of a variable with a name like a secret's (password, token, key), or with a password or token in an address, must be a reference such as {{secrets/scope/key}}: everything else is readable in the workspace and in Terraform's state."
  }
}

variable "init_script" {
  description = "Path, in a volume, of the init script that prepares each node, as the module databricks-assets returns it; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.init_script == null ? true : can(regex("^/Volumes/[^/]+/[^/]+/[^/]+/.+", var.init_script))
    error_message = "init_script is '${coalesce(var.init_script, "null")}': give a path such as /Volumes/catalog/schema/volume/databricks.sh, to which databricks-assets uploads it."
  }
}

variable "log_folder" {
  description = "Folder in a volume for the logs of the driver, the workers and the init script; null keeps no logs after the cluster terminates."
  type        = string
  default     = null

  validation {
    condition     = var.log_folder == null ? true : can(regex("^/Volumes/[^/]+/[^/]+/[^/]+", var.log_folder))
    error_message = "log_folder is '${coalesce(var.log_folder, "null")}': give a folder such as /Volumes/catalog/schema/volume/logs."
  }
}

variable "zone" {
  description = "Zone of the nodes, on AWS and Google Cloud; null lets Databricks choose."
  type        = string
  default     = null

  validation {
    condition     = var.zone == null ? true : can(regex("^([a-z]{2}(-[a-z]+)+-[0-9][a-z]|[a-z]+-[a-z]+[0-9]+-[a-z])$", var.zone))
    error_message = "zone is '${coalesce(var.zone, "null")}': give one such as us-east-1a or us-central1-a, not a region."
  }
}

variable "spot" {
  description = "Whether workers are spot instances; Databricks falls back to on-demand instances if there is no spot capacity. The driver is always on demand."
  type        = bool
  default     = false
  nullable    = false
}

variable "instance_pool_id" {
  description = "Instance pool for workers and driver; its node type must be the shape's. Cannot be combined with driver_node_type, spot and alternative_shapes, because the pool decides them."
  type        = string
  default     = null

  validation {
    condition     = var.instance_pool_id == null ? true : !var.spot && var.driver_node_type == null && length(var.alternative_shapes) == 0
    error_message = "With instance_pool_id, set spot = false, and leave driver_node_type and alternative_shapes out: the pool decides them."
  }
}

variable "instance_profile_arn" {
  description = "AWS only: the instance profile with which nodes access S3."
  type        = string
  default     = null

  validation {
    condition     = var.instance_profile_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:instance-profile/.+", var.instance_profile_arn))
    error_message = "instance_profile_arn is '${coalesce(var.instance_profile_arn, "null")}': give one such as arn:aws:iam::123456789012:instance-profile/name."
  }
}

variable "idle_minutes" {
  description = "Minutes without activity after which the cluster terminates; 0 for never."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.idle_minutes == 0 || (var.idle_minutes >= 10 && var.idle_minutes <= 10000)
    error_message = "idle_minutes is ${var.idle_minutes}: Databricks takes 10 to 10000, or 0 for never."
  }
}

variable "single_user_name" {
  description = "User, group or service principal (application id) that the cluster is dedicated to; null takes who applies this."
  type        = string
  default     = null
}

variable "policy_id" {
  description = "Cluster policy to apply; null for none."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the cluster and its instances, in addition to the module's own: budgets and the cloud's bill count by them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = !contains(keys(var.tags), "ResourceClass")
    error_message = "Databricks uses the tag ResourceClass for single-node clusters: give your tag another name. For a single-node cluster set workers = 0."
  }
}
