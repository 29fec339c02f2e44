"""A cluster in the format of Databricks' REST API. Runs on a laptop; sends nothing."""

from __future__ import annotations

from typing import Any

from server_utils.clusters.cluster import IDLE_MINUTES, Cluster
from server_utils.errors import ConfigurationError

# How the path of an init script begins -> the field of `init_scripts` that takes such a path.
_INIT_SCRIPT_FIELDS = {
    "/Volumes/": "volumes",
    "s3://": "s3",
    "abfss://": "abfss",
    "gs://": "gcs",
    "/": "workspace",  # last: the other absolute paths are handled above
}


def request_body(cluster: Cluster, *, name: str, init_script: str | None = None) -> dict[str, Any]:
    """Return the body of a `clusters/create` request: what `databricks clusters create --json` takes.

    The number of workers is fixed. The cluster terminates after an hour without work.

    Args:
        cluster: node types, runtime, Spark conf and environment variables; `server_utils.clusters.cluster` makes it.
        name: `cluster_name`, as the workspace shows it.
        init_script: path of the init script in a volume, in the workspace or in a bucket. Without it the field
            `init_scripts` is left out, and nothing prepares the nodes.

    Raises:
        ConfigurationError: if Databricks cannot run an init script from that path.

    Example:
        >>> from server_utils.clusters.cluster import cluster
        >>> body = request_body(cluster("databricks-aws", "a10x1", "vllm"), name="reviews")
        >>> body["node_type_id"], body["num_workers"], body["spark_env_vars"]
        ('g5.4xlarge', 2, {'FRAMEWORK': 'vllm'})
    """
    body: dict[str, Any] = {
        "cluster_name": name,
        "spark_version": cluster.runtime.name,
        "node_type_id": cluster.node.node_type,
        "driver_node_type_id": cluster.driver_node_type,
        "num_workers": cluster.workers,
        "spark_conf": cluster.conf,
        "spark_env_vars": cluster.env,
        # Photon does not run on GPU nodes.
        "runtime_engine": "STANDARD",
        # Servers are child processes of the executors: standard access mode would isolate them.
        "data_security_mode": "SINGLE_USER",
        "autotermination_minutes": IDLE_MINUTES,
    }
    if init_script:
        body["init_scripts"] = [{_init_script_field(init_script): {"destination": init_script}}]
    return body


def _init_script_field(path: str) -> str:
    for prefix, field in _INIT_SCRIPT_FIELDS.items():
        if path.startswith(prefix):
            return field
    raise ConfigurationError(
        f"an init script on Databricks is in a volume (/Volumes/…), in the workspace (/Workspace/…), or in a bucket "
        f"(s3://, abfss://, gs://); {path!r} is none of these"
    )
