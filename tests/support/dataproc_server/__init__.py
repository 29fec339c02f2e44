"""Dataproc as a protocol server on loopback: Google's own clients drive it, and it executes what it is given.

`server.py` has the gRPC API and puts the parts together. `compute.py` has the REST APIs around it. `execute.py` runs
drivers on a real Spark.
"""
