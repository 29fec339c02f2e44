"""The commands of `spark-sidecar` that are groups of their own."""
