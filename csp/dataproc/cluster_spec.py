"""A cluster as a `gcloud dataproc clusters create` command. Runs on a laptop; starts nothing."""

from __future__ import annotations

from collections.abc import Mapping

from server_utils.clusters.cluster import IDLE_MINUTES, Cluster
from server_utils.errors import ConfigurationError

# A GPU driver that an initialization action builds is not signed. The -ml images have a driver that is.
_ALLOW_UNSIGNED_DRIVER = "--no-shielded-secure-boot"
# The default of ten minutes is too short to install gigabytes of packages.
_INIT_TIMEOUT = "30m"
# Separates the entries of one argument. Not gcloud's default, the comma: values of Spark settings contain commas.
_SEPARATOR = "#"


def gcloud_command(
    cluster: Cluster, *, name: str, init_script: str | None = None, bundle: str | None = None
) -> list[str]:
    """Return the command that creates the cluster, as a list of arguments that begins with "gcloud".

    Region and project are not in it: gcloud takes them from its own configuration, or from flags that you append.
    The number of workers is fixed. Dataproc deletes the cluster after an hour without a job.

    Args:
        cluster: machine types, image, Spark conf and environment variables; `server_utils.clusters.cluster` makes it.
        name: name of the cluster.
        init_script: gs:// address of the initialization action that prepares the nodes; None for none.
        bundle: gs:// address of the folder that the init script installs from (`spark-sidecar wheelhouse build`
            makes one); the cluster's metadata passes it to the script.

    Raises:
        ConfigurationError: if init_script is not in a bucket, or a value contains the separator.

    Example:
        >>> from server_utils.clusters.cluster import cluster
        >>> command = gcloud_command(cluster("dataproc", "l4x1", "vllm"), name="reviews")
        >>> command[3:7]
        ['create', 'reviews', '--image-version=2.3-ml-ubuntu22', '--num-workers=2']
    """
    if init_script and not init_script.startswith("gs://"):
        raise ConfigurationError(f"an initialization action is in a bucket (gs://…); {init_script!r} is not")
    command = [
        "gcloud",
        "dataproc",
        "clusters",
        "create",
        name,
        f"--image-version={cluster.runtime.name}",
        f"--num-workers={cluster.workers}",
        f"--worker-machine-type={cluster.node.node_type}",
        f"--master-machine-type={cluster.driver_node_type}",
        f"--properties={_properties(cluster)}",
        f"--metadata={_join(_metadata(cluster, bundle))}",
        f"--max-idle={IDLE_MINUTES}m",
    ]
    if cluster.runtime.cuda is None:
        command.append(_ALLOW_UNSIGNED_DRIVER)
    if init_script:
        command += [f"--initialization-actions={init_script}", f"--initialization-action-timeout={_INIT_TIMEOUT}"]
    return command


def _properties(cluster: Cluster) -> str:
    env = {f"spark.executorEnv.{key}": value for key, value in cluster.env.items()}
    return _join({f"spark:{key}": value for key, value in (cluster.conf | env).items()})


def _metadata(cluster: Cluster, bundle: str | None) -> dict[str, str]:
    return {"framework": cluster.framework} | ({"spark-sidecar-bundle": bundle} if bundle else {})


def _join(entries: Mapping[str, str]) -> str:
    # gcloud's syntax for a separator of one's own: it stands between two carets (`gcloud topic escaping`).
    if refused := [key for key, value in entries.items() if _SEPARATOR in value]:
        raise ConfigurationError(
            f"the value of {refused[0]} contains '{_SEPARATOR}', by which the entries of a gcloud argument are "
            "separated here; give a value without it"
        )
    return f"^{_SEPARATOR}^" + _SEPARATOR.join(f"{key}={value}" for key, value in entries.items())
