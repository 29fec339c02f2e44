"""Databricks on AWS, Azure and GCP."""
