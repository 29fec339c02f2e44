"""Describe a cluster in the format of Dataproc's API. Laptop; sends nothing, imports nothing of Google's.

The request has the same fields and values as the one that gcloud makes of the command in `gcloud_command.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csp.dataproc.gcloud_command import gcloud_command
from server_utils.clusters.cluster import Cluster

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
Message = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The place of a cluster: project, region, and the bucket for the output of its jobs."""

    project: str
    region: str
    bucket: str


def create_request(
    cluster: Cluster,
    *,
    name: str,
    place: Place,
    init_script: str,
    bundle: str,
    labels: Mapping[str, str],
    metadata: Mapping[str, str],
) -> Message:
    """Return the fields of a `CreateClusterRequest`, without its request_id.

    Args:
        cluster: machine types, image, Spark conf, variables and options.
        name: of the cluster.
        place: project, region and bucket.
        init_script: gs:// address of the initialization action.
        bundle: gs:// address of the folder that nodes install from.
        labels: are added to the labels of `cluster`.
        metadata: of the instances; is added to the metadata of `cluster`.

    Raises:
        ConfigurationError: Dataproc does not accept the name or an address.
    """
    gcloud_command(cluster, name=name, init_script=init_script, bundle=bundle)  # refuses wrong names and addresses
    own_metadata = {"framework": cluster.framework, "spark-sidecar-bundle": bundle}
    all_metadata = {**own_metadata, **metadata, **cluster.options.metadata}
    action = {"executable_file": init_script, "execution_timeout": {"seconds": cluster.platform["init_timeout_s"]}}
    config = {
        "config_bucket": cluster.options.staging_bucket or place.bucket,
        "gce_cluster_config": _machines(cluster, all_metadata),
        "software_config": _software(cluster),
        "initialization_actions": [action],
        "endpoint_config": {"enable_http_port_access": True},
        **_groups(cluster),
    }
    if cluster.options.idle_minutes:
        config["lifecycle_config"] = {"idle_delete_ttl": {"seconds": cluster.options.idle_minutes * 60}}
    return {
        "project_id": place.project,
        "region": place.region,
        "cluster": {
            "project_id": place.project,
            "cluster_name": name,
            "labels": {"spark-sidecar": cluster.framework, **cluster.options.tags, **labels},
            "config": config,
        },
    }


def _groups(cluster: Cluster) -> Message:
    """Return the groups of master, workers and spot workers."""
    if cluster.single_node:
        return {"master_config": _group(cluster, cluster.node.node_type, 1, gpus=True)}
    groups = {
        "master_config": _group(cluster, cluster.driver_node_type, 1, gpus=False),
        "worker_config": _group(cluster, cluster.node.node_type, cluster.workers, gpus=True),
    }
    if spot := cluster.options.spot_workers:
        # No machine type: secondary workers have that of the primary ones.
        secondary = _group(cluster, "", spot, gpus=True)
        groups["secondary_worker_config"] = secondary | {"preemptibility": "SPOT"}
    return groups


def _group(cluster: Cluster, machine_type: str, count: int, *, gpus: bool) -> Message:
    facts = cluster.platform
    disk = {"boot_disk_size_gb": facts["boot_disk_gb"], "boot_disk_type": facts["boot_disk_type"]}
    if gpus and cluster.options.local_ssds:
        disk |= {"num_local_ssds": cluster.options.local_ssds, "local_ssd_interface": "nvme"}
    group: Message = {"num_instances": count, "disk_config": disk}
    if machine_type:
        group["machine_type_uri"] = machine_type
    if gpus and cluster.node.accelerator:
        attached = {"accelerator_type_uri": cluster.node.accelerator, "accelerator_count": cluster.node.gpus}
        group["accelerators"] = [attached]
    return group


def _machines(cluster: Cluster, metadata: Mapping[str, str]) -> Message:
    options = cluster.options
    fields = {
        "zone_uri": options.zone,
        "subnetwork_uri": options.subnetwork,
        "service_account": options.service_account,
        "tags": list(options.network_tags),
    }
    return {key: value for key, value in fields.items() if value} | {
        "service_account_scopes": [_SCOPE],
        "internal_ip_only": True,
        "metadata": dict(metadata),
        "shielded_instance_config": {
            # A GPU driver that an initialization action builds is not signed.
            "enable_secure_boot": cluster.runtime.cuda is not None,
            "enable_vtpm": True,
            "enable_integrity_monitoring": True,
        },
    }


def _software(cluster: Cluster) -> Message:
    env = {f"spark.executorEnv.{key}": value for key, value in cluster.env.items()}
    spark = {f"spark:{key}": value for key, value in (cluster.conf | env).items()}
    zero_workers = {"dataproc:dataproc.allow.zero.workers": "true"} if cluster.single_node else {}
    return {
        "image_version": cluster.runtime.name,
        "properties": spark | cluster.properties | zero_workers,
        "optional_components": list(cluster.platform["optional_components"]),
    }
