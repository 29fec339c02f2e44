"""The command line `spark-sidecar`."""
