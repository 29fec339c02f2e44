# A node of the user's own choice gets what a row of the catalogue has. The formula is that of server_utils/clusters/spark_conf.py:
# a test compares both for every node of the catalogue.
variable "platform" {
  description = "Platform of the node, such as dataproc."
  type        = string
}

variable "node" {
  description = "The node: as the variable node of the modules databricks and dataproc."
  type = object({
    node_type      = string
    gpus           = number
    vcpus          = number
    ram_gib        = number
    gpu_memory_gib = number
    accelerator    = optional(string)
  })
}

locals {
  on_yarn = var.platform == "dataproc"
  cores   = var.node.vcpus - (local.on_yarn ? 1 : 0)
  slots   = ceil(local.cores / var.node.gpus)
  heap    = max(min(floor(var.node.ram_gib / 4), 64), 1)

  # The master's daemons take memory of a single node, not of a worker.
  daemons  = { workers = 0, single = 4 }
  yarn     = { for kind, gib in local.daemons : kind => var.node.ram_gib - max(ceil(var.node.ram_gib / 5), 8) - gib }
  heaps    = { for kind, gib in local.yarn : kind => local.on_yarn ? max(min(local.heap, floor((gib - 2) / 2)), 1) : local.heap }
  overhead = { for kind, gib in local.yarn : kind => max(gib - 2 - local.heaps[kind], 1) }

  python = {
    "spark.python.worker.reuse"                 = "true"
    "spark.sql.execution.arrow.pyspark.enabled" = "true"
  }

  executors = { for kind, heap in local.heaps : kind => merge(
    local.python,
    {
      "spark.executor.cores"               = tostring(local.cores)
      "spark.executor.resource.gpu.amount" = tostring(var.node.gpus)
      "spark.task.resource.gpu.amount"     = format("%.4f", floor(10000 / local.slots) / 10000)
      "spark.executor.memory"              = "${heap}g"
    },
    { for key, value in {
      "spark.executor.memoryOverhead"               = "${local.overhead[kind]}g"
      "spark.dynamicAllocation.enabled"             = "false"
      "spark.executor.resource.gpu.discoveryScript" = "/opt/spark-sidecar/bin/gpu-addresses.sh"
    } : key => value if local.on_yarn },
  ) }

  properties = { for kind, gib in local.yarn : kind => { for key, value in {
    "yarn:yarn.nodemanager.pmem-check-enabled"  = "false"
    "yarn:yarn.nodemanager.resource.memory-mb"  = tostring(gib * 1024)
    "yarn:yarn.nodemanager.vmem-check-enabled"  = "false"
    "yarn:yarn.scheduler.maximum-allocation-mb" = tostring(gib * 1024)
  } : key => value if local.on_yarn } }

  local_mode = merge(local.python, { "spark.databricks.cluster.profile" = "singleNode", "spark.master" = "local[*]" })

  rapids = {
    "spark.plugins"                            = "com.nvidia.spark.SQLPlugin"
    "spark.rapids.memory.gpu.allocFraction"    = "0.2"
    "spark.rapids.memory.gpu.maxAllocFraction" = "0.2"
    "spark.rapids.memory.gpu.minAllocFraction" = "0"
    "spark.rapids.sql.concurrentGpuTasks"      = "1"
  }
}

output "shape" {
  description = "What the catalogue has of a shape."
  value = {
    node_type      = var.node.node_type
    accelerator    = var.node.accelerator
    gpu            = ""
    gpus           = var.node.gpus
    gpu_memory_gib = var.node.gpu_memory_gib
    vcpus          = var.node.vcpus
    ram_gib        = var.node.ram_gib
    local_disks    = null
    local_ssds     = null
    spot_only      = false
    documented     = true
    env            = {}
    conf           = local.executors.workers
    properties     = local.properties.workers
    rapids_conf    = var.node.gpus > 1 ? null : local.rapids
    single_node = {
      conf       = local.on_yarn ? local.executors.single : local.local_mode
      properties = local.properties.single
    }
  }
}
