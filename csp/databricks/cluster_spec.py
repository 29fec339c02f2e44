"""Describe a cluster in the format of Databricks' REST API. Runs on a laptop; sends nothing."""

from __future__ import annotations

from typing import Any

from server_utils.clusters.cluster import Cluster
from server_utils.errors import ConfigurationError

# How the path of an init script begins -> the field of `init_scripts` that takes such a path.
_INIT_SCRIPT_FIELDS = {
    "/Volumes/": "volumes",
    "s3://": "s3",
    "abfss://": "abfss",
    "gs://": "gcs",
    "/": "workspace",  # last: the other absolute paths are handled above
}


def request_body(
    cluster: Cluster,
    *,
    name: str,
    init_script: str | None = None,
    bundle: str | None = None,
) -> dict[str, Any]:
    """Return the body of a `clusters/create` request: what `databricks clusters create --json` takes.

    It has the same fields and values as the cluster that the Terraform module `databricks` makes. The number of workers
    is fixed.

    Args:
        cluster: node types, runtime, Spark conf, variables and options; `server_utils.clusters.cluster` makes it.
        name: `cluster_name`, as the workspace shows it.
        init_script: path of the init script in a volume, in the workspace or in a bucket. Without it the field
            `init_scripts` is left out, and nothing prepares the nodes.
        bundle: folder that the init script installs from (`spark-sidecar wheelhouse build` makes one), in a volume or
            in the workspace; the variable SPARK_SIDECAR_BUNDLE passes it to the script.

    Raises:
        ConfigurationError: if Databricks cannot run an init script from that path, or bundle is no folder on a node.

    Example:
        >>> from server_utils.clusters.cluster import cluster
        >>> body = request_body(cluster("databricks-aws", "a10x1", "vllm"), name="reviews")
        >>> body["node_type_id"], body["num_workers"], body["spark_env_vars"]
        ('g5.4xlarge', 2, {'SPARK_SIDECAR_WORKERS': '2', 'FRAMEWORK': 'vllm'})
    """
    if bundle and not bundle.startswith("/"):
        raise ConfigurationError(
            f"a bundle on Databricks is a folder that nodes see, such as /Volumes/catalog/schema/volume/bundle; "
            f"{bundle!r} is none: `spark-sidecar wheelhouse build --to /Volumes/…` makes one"
        )
    body: dict[str, Any] = {
        "cluster_name": name,
        "spark_version": cluster.runtime.name,
        "node_type_id": cluster.node.node_type,
        "driver_node_type_id": cluster.driver_node_type,
        "num_workers": cluster.workers,
        "spark_conf": cluster.conf,
        "spark_env_vars": _variables(cluster, bundle),
        "custom_tags": _tags(cluster),
        # Photon does not run on GPU nodes.
        "runtime_engine": "STANDARD",
        # Servers are child processes of the executors: standard access mode would isolate them.
        "data_security_mode": "SINGLE_USER",
        "autotermination_minutes": cluster.options.idle_minutes,
        cluster.platform["field"]: _attributes(cluster),
    }
    if cluster.options.single_user:
        body["single_user_name"] = cluster.options.single_user
    if cluster.options.log_folder:
        body["cluster_log_conf"] = {"volumes": {"destination": cluster.options.log_folder}}
    if init_script:
        body["init_scripts"] = [{_init_script_field(init_script): {"destination": init_script}}]
    return body


def init_script_warning(path: str | None) -> str | None:
    """Return a warning about an init script outside of volumes, which may not read volumes; None for no warning."""
    if path is None or path.startswith("/Volumes/"):
        return None
    return (
        f"the init script {path} is in no volume, and so Databricks lets it read none: the wheel or bundle that it "
        "installs from must not be in a volume either; upload the script to /Volumes/…"
    )


def _variables(cluster: Cluster, bundle: str | None) -> dict[str, str]:
    # With workers, the init script builds no engine's environment on the driver, which would not use its gigabytes.
    variables = {"SPARK_SIDECAR_WORKERS": str(cluster.workers)}
    return variables | ({"SPARK_SIDECAR_BUNDLE": bundle} if bundle else {}) | cluster.env


def _tags(cluster: Cluster) -> dict[str, str]:
    # Databricks refuses a cluster without workers, unless this tag and two Spark settings confirm it.
    single = {"ResourceClass": "SingleNode"} if cluster.single_node else {}
    return {"spark-sidecar": cluster.framework, **cluster.options.tags, **single}


def _attributes(cluster: Cluster) -> dict[str, Any]:
    """Return the fields of the cloud. Without them, Databricks would take spot instances, also for the driver."""
    facts = cluster.platform
    attributes = {
        "availability": facts["spot"] if cluster.options.spot else facts["on_demand"],
        "first_on_demand": facts["first_on_demand"],
    }
    if zone := cluster.options.zone or facts["zone_id"]:
        attributes["zone_id"] = zone
    if cluster.options.instance_profile:
        attributes["instance_profile_arn"] = cluster.options.instance_profile
    return attributes


def _init_script_field(path: str) -> str:
    for prefix, field in _INIT_SCRIPT_FIELDS.items():
        if path.startswith(prefix):
            return field
    raise ConfigurationError(
        f"an init script on Databricks is in a volume (/Volumes/…), in the workspace (/Workspace/…), or in a bucket "
        f"(s3://, abfss://, gs://); {path!r} is none of these"
    )
