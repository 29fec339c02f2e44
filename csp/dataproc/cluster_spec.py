"""A cluster as the words of a `gcloud dataproc clusters create` command. Laptop; calls nothing."""

from __future__ import annotations

from collections.abc import Mapping

from server_utils.clusters.cluster import IDLE_MINUTES, Cluster
from server_utils.errors import ConfigurationError

# No GPU driver that an initialization action builds is signed; those of the -ml images need no change.
_UNSIGNED_DRIVER = "--no-shielded-secure-boot"
# Google's default of ten minutes is too short for gigabytes of packages.
_INIT_TIMEOUT = "30m"
# No Spark setting holds this character: lists in values keep their commas.
_SEPARATOR = "#"


def gcloud_command(
    cluster: Cluster, *, name: str, init_script: str | None = None, bundle: str | None = None
) -> list[str]:
    """The words of a `gcloud dataproc clusters create` command; region and project are gcloud's own settings."""
    if init_script and not init_script.startswith("gs://"):
        raise ConfigurationError(f"an initialization action is in a bucket (gs://…); {init_script!r} is not")
    words = [
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
        f"--metadata={_joined(_metadata(cluster, bundle))}",
        f"--max-idle={IDLE_MINUTES}m",
    ]
    if cluster.runtime.cuda is None:
        words.append(_UNSIGNED_DRIVER)
    if init_script:
        words += [f"--initialization-actions={init_script}", f"--initialization-action-timeout={_INIT_TIMEOUT}"]
    return words


def _properties(cluster: Cluster) -> str:
    env = {f"spark.executorEnv.{key}": value for key, value in cluster.env.items()}
    return _joined({f"spark:{key}": value for key, value in (cluster.conf | env).items()})


def _metadata(cluster: Cluster, bundle: str | None) -> dict[str, str]:
    return {"framework": cluster.framework} | ({"spark-sidecar-bundle": bundle} if bundle else {})


def _joined(values: Mapping[str, str]) -> str:
    # gcloud's own escape (gcloud topic escaping): the character between two carets separates.
    if bad := [key for key, value in values.items() if _SEPARATOR in value]:
        raise ConfigurationError(f"{bad[0]} holds a {_SEPARATOR}, by which gcloud's arguments are separated here")
    return f"^{_SEPARATOR}^" + _SEPARATOR.join(f"{key}={value}" for key, value in values.items())
