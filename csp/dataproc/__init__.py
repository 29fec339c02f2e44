"""Google Cloud Dataproc."""
