"""Models in cloud storage: saved once, loaded fast, never half. Driver and executors; knows no Spark."""
