"""The machine: platform, processes, files, GPUs, logs. Knows no Spark."""
