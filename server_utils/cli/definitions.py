"""A cluster in the words of a platform's own tool: JSON for Databricks, arguments for gcloud. Laptop; calls nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server_utils.clusters.cluster import Cluster
from server_utils.errors import ConfigurationError

# No GPU driver that an initialization action builds is signed; those of the -ml images need no change.
_UNSIGNED_DRIVER = "--no-shielded-secure-boot"
_IDLE_MINUTES = 60
# Google's default of ten minutes is too short for gigabytes of packages.
_INIT_TIMEOUT = "30m"
# No Spark setting holds this character: lists in values keep their commas.
_SEPARATOR = "#"


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """KEY=VALUE words as a dict.

    Raises:
        ConfigurationError: if one has no key or no equals sign; the message names the option.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigurationError(f"{option} takes KEY=VALUE, not {text!r}")
        found[key] = value
    return found


def databricks(cluster: Cluster, *, name: str, init_script: str | None = None) -> dict[str, Any]:
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
        "autotermination_minutes": _IDLE_MINUTES,
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


def gcloud(cluster: Cluster, *, name: str, init_script: str | None = None, bundle: str | None = None) -> list[str]:
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
        f"--max-idle={_IDLE_MINUTES}m",
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
