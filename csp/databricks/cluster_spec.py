"""A cluster as the body of Databricks' clusters/create. Laptop; calls nothing."""

from __future__ import annotations

from typing import Any

from server_utils.clusters.cluster import IDLE_MINUTES, Cluster
from server_utils.errors import ConfigurationError


def create_request(cluster: Cluster, *, name: str, init_script: str | None = None) -> dict[str, Any]:
    """The body of Databricks' clusters/create."""
    definition: dict[str, Any] = {
        "cluster_name": name,
        "spark_version": cluster.runtime.name,
        "node_type_id": cluster.node.node_type,
        "driver_node_type_id": cluster.driver_node_type,
        "num_workers": cluster.workers,
        "spark_conf": cluster.conf,
        "spark_env_vars": cluster.env,
        # Photon does not run on GPU nodes.
        "runtime_engine": "STANDARD",
        # Servers are processes of the executors: standard access mode would confine them.
        "data_security_mode": "SINGLE_USER",
        "autotermination_minutes": IDLE_MINUTES,
    }
    if init_script:
        definition["init_scripts"] = [{_kind_of_path(init_script): {"destination": init_script}}]
    return definition


def _kind_of_path(path: str) -> str:
    for start, kind in (("/Volumes/", "volumes"), ("s3://", "s3"), ("abfss://", "abfss"), ("gs://", "gcs")):
        if path.startswith(start):
            return kind
    if path.startswith("/"):
        return "workspace"
    raise ConfigurationError(
        f"an init script on Databricks is in a volume (/Volumes/…), in the workspace (/Workspace/…), or in a bucket "
        f"(s3://, abfss://, gs://); {path!r} is none of these"
    )
