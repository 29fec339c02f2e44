"""Where am I, and where do things belong here: the only reader of platform variables. Driver and executors."""

from __future__ import annotations

import os
import re
import tempfile
from enum import Enum
from pathlib import Path

from server_utils.errors import ConfigurationError


class Platform(Enum):
    """The platforms the kit knows."""

    LOCAL = "local"
    DATABRICKS = "databricks"
    DATAPROC = "dataproc"


def current() -> Platform:
    """The platform this process runs on."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return Platform.DATABRICKS
    if "DATAPROC_VERSION" in os.environ or Path("/etc/google-dataproc").is_dir():
        return Platform.DATAPROC
    return Platform.LOCAL


def home() -> Path:
    """The folder of what outlives a job (sealed environments, fetched models and data).

    `SPARK_SIDECAR_HOME` wins; clusters use /opt/spark-sidecar, which their init scripts fill; a laptop follows XDG.
    """
    if chosen := os.environ.get("SPARK_SIDECAR_HOME"):
        return Path(chosen)
    if current() is not Platform.LOCAL:
        return Path("/opt/spark-sidecar")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "spark-sidecar"


def cache_root() -> Path:
    """The folder of models that were fetched onto this node, private to the user; `SPARK_SIDECAR_CACHE` wins.

    On clusters it is on the local disk that is large and fast: Databricks' /local_disk0, Dataproc's first SSD.
    """
    if chosen := os.environ.get("SPARK_SIDECAR_CACHE"):
        return Path(chosen)
    if current() is Platform.LOCAL:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spark-sidecar" / "models"
    disks = (Path("/local_disk0"), Path("/mnt/1"), Path("/var/tmp"))  # noqa: S108 - private folder, as in state_root
    disk = next(disk for disk in disks if os.access(disk, os.W_OK) or disk == disks[-1])
    return disk / f"spark-sidecar-models-{os.getuid()}"


def cache_limit() -> int | None:
    """Bytes that the models on this node may take, from `SPARK_SIDECAR_CACHE_GB`; None for what the disk holds."""
    chosen = os.environ.get("SPARK_SIDECAR_CACHE_GB")
    if chosen and not re.fullmatch(r"\d+(\.\d+)?", chosen):
        raise ConfigurationError(f"SPARK_SIDECAR_CACHE_GB must be a number of gigabytes, such as 200; it is {chosen!r}")
    return int(float(chosen) * 1e9) if chosen else None


def state_root() -> Path:
    """The folder of server records, one per user and host: all executors of a host must see the same one.

    Not XDG_RUNTIME_DIR: executors have no login session, and two of them must agree.
    """
    if chosen := os.environ.get("SPARK_SIDECAR_STATE"):
        return Path(chosen)
    return Path(tempfile.gettempdir() if current() is Platform.LOCAL else "/tmp") / f"spark-sidecar-{os.getuid()}"  # noqa: S108 - private folder, ownership is checked where it is made
