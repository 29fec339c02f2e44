"""Describe a cluster as a `gcloud dataproc clusters create` command. Runs on a laptop; starts nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from server_utils.clusters.cluster import Cluster
from server_utils.errors import ConfigurationError

_NAME = re.compile("[a-z]([-a-z0-9]{0,49}[a-z0-9])?")
# A GPU driver that an initialization action builds is not signed. The -ml images have a driver that is.
_SHIELDED = ("--shielded-secure-boot", "--shielded-vtpm", "--shielded-integrity-monitoring")
_ALLOW_UNSIGNED_DRIVER = ("--no-shielded-secure-boot", *_SHIELDED[1:])
_SCOPES = "https://www.googleapis.com/auth/cloud-platform"
# Separates the entries of one argument. Not gcloud's default, the comma: values of Spark settings contain commas.
_SEPARATOR = "#"


def gcloud_command(
    cluster: Cluster,
    *,
    name: str,
    init_script: str | None = None,
    bundle: str | None = None,
) -> list[str]:
    """Return the command that creates the cluster, as a list of arguments that begins with "gcloud".

    It has the same fields and values as the cluster that the Terraform module `dataproc` makes. The project is not in
    it, and the region only with a zone: gcloud takes them from its own configuration, or from flags that you append.
    The number of workers is fixed.

    Args:
        cluster: machine types, image, Spark conf, variables and options; `server_utils.clusters.cluster` makes it.
        name: name of the cluster.
        init_script: gs:// address of the initialization action that prepares the nodes; None for none.
        bundle: gs:// address of the folder that the init script installs from (`spark-sidecar wheelhouse build`
            makes one); the cluster's metadata passes it to the script.

    Raises:
        ConfigurationError: if the name is none that Dataproc takes, init_script or bundle are not in a bucket, or a
            value contains the separator.

    Example:
        >>> from server_utils.clusters.cluster import cluster
        >>> command = gcloud_command(cluster("dataproc", "l4x1", "vllm"), name="reviews")
        >>> command[3:7]
        ['create', 'reviews', '--image-version=2.3-ml-ubuntu22', '--num-workers=2']
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name of a cluster: at most 51 lower-case letters, digits and hyphens, a letter first"
        )
    if init_script and not init_script.startswith("gs://"):
        raise ConfigurationError(f"an initialization action is in a bucket (gs://…); {init_script!r} is not")
    if bundle and not bundle.startswith("gs://"):
        raise ConfigurationError(
            f"a bundle on Dataproc is in a bucket; {bundle!r} is not: `spark-sidecar wheelhouse build --to gs://…` "
            "makes one"
        )
    metadata = {"framework": cluster.framework, "spark-sidecar-bundle": bundle, **cluster.options.metadata}
    command = ["gcloud", "dataproc", "clusters", "create", name, f"--image-version={cluster.runtime.name}"]
    command += _nodes(cluster) + _settings(cluster, metadata) + _machines(cluster)
    if cluster.options.idle_minutes:
        command.append(f"--delete-max-idle={cluster.options.idle_minutes}m")
    if init_script:
        timeout = f"--initialization-action-timeout={cluster.platform['init_timeout_s']}s"
        command += [f"--initialization-actions={init_script}", timeout]
    return command


def _nodes(cluster: Cluster) -> list[str]:
    """Return the flags for the nodes: number, type, disks and GPUs."""
    if cluster.single_node:
        return [
            "--single-node",
            f"--master-machine-type={cluster.node.node_type}",
            *_node("master", cluster, gpus=True),
        ]
    flags = [
        f"--num-workers={cluster.workers}",
        f"--worker-machine-type={cluster.node.node_type}",
        f"--master-machine-type={cluster.driver_node_type}",
        *_node("worker", cluster, gpus=True),
        *_node("master", cluster, gpus=False),
    ]
    if cluster.options.spot_workers:
        spot = [f"--num-secondary-workers={cluster.options.spot_workers}", "--secondary-worker-type=spot"]
        flags += [*spot, *_node("secondary-worker", cluster, gpus=True)]
    return flags


def _node(role: str, cluster: Cluster, *, gpus: bool) -> list[str]:
    facts, node = cluster.platform, cluster.node
    disk = [
        f"--{role}-boot-disk-size={facts['boot_disk_gb']}GB",
        f"--{role}-boot-disk-type={facts['boot_disk_type']}",
    ]
    if gpus and cluster.options.local_ssds:
        number = f"--num-{role}-local-ssds={cluster.options.local_ssds}"
        disk += [number, f"--{role}-local-ssd-interface=nvme"]
    attached = [f"--{role}-accelerator=type={node.accelerator},count={node.gpus}"]
    return disk + (attached if gpus and node.accelerator else [])


def _settings(cluster: Cluster, metadata: Mapping[str, str | None]) -> list[str]:
    components = cluster.platform["optional_components"]
    return [
        f"--properties={_properties(cluster)}",
        f"--metadata={_join({key: value for key, value in metadata.items() if value})}",
        f"--labels={_join({'spark-sidecar': cluster.framework, **cluster.options.tags})}",
        f"--optional-components={','.join(components)}",
        "--enable-component-gateway",
    ]


def _machines(cluster: Cluster) -> list[str]:
    """Return the flags for region, zone and network, for the service account, and for secure boot."""
    options = cluster.options
    values = {
        "region": options.zone.rpartition("-")[0] if options.zone else None,
        "zone": options.zone,
        "subnet": options.subnetwork,
        "tags": ",".join(options.network_tags),
        "service-account": options.service_account,
        "bucket": options.staging_bucket,
    }
    shielded = _ALLOW_UNSIGNED_DRIVER if cluster.runtime.cuda is None else _SHIELDED
    flags = [f"--{flag}={value}" for flag, value in values.items() if value]
    return [*flags, f"--scopes={_SCOPES}", "--no-address", *shielded]


def _properties(cluster: Cluster) -> str:
    env = {f"spark.executorEnv.{key}": value for key, value in cluster.env.items()}
    spark = {f"spark:{key}": value for key, value in (cluster.conf | env).items()}
    return _join(spark | cluster.properties)


def _join(entries: Mapping[str, str]) -> str:
    # gcloud's syntax for another separator: it stands between two carets (`gcloud topic escaping`).
    if refused := [key for key, value in entries.items() if _SEPARATOR in value]:
        raise ConfigurationError(
            f"the value of {refused[0]} contains '{_SEPARATOR}', by which the entries of a gcloud argument are "
            "separated here; give a value without it"
        )
    return f"^{_SEPARATOR}^" + _SEPARATOR.join(f"{key}={value}" for key, value in entries.items())
