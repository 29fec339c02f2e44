"""The platform and its folders: the only reader of platform variables. Driver and executors."""

from __future__ import annotations

import os
import re
import tempfile
from enum import Enum
from pathlib import Path

from server_utils.errors import ConfigurationError

# Their folders are private: who owns them is checked where they are made.
_TEMPORARY = Path("/tmp")  # noqa: S108
# On Dataproc's first SSD, which is root's: its init action makes this folder for executors.
DATAPROC_DISK = Path("/mnt/1/spark-sidecar")
_DISKS = (Path("/local_disk0"), DATAPROC_DISK, DATAPROC_DISK.parent, Path("/var/tmp"))  # noqa: S108


class Platform(Enum):
    """The platforms that the package knows."""

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


def cluster_python() -> Path | None:
    """The Python of a Databricks cluster, of which each notebook runs a clone; None elsewhere."""
    python = Path("/databricks/python3/bin/python")
    return python if current() is Platform.DATABRICKS and python.exists() else None


def what_kills() -> str:
    """Who sends SIGKILL here when memory runs out, for the reason of a server that was killed."""
    if "CONTAINER_ID" not in os.environ:  # YARN's, in all that its containers start
        return "the kernel does this when memory runs out"
    dataproc = ", Dataproc's memory protection (google.dataproc.oom-killer in Cloud Logging)"
    return (
        f"the kernel{dataproc if current() is Platform.DATAPROC else ''} and YARN's memory watch (`yarn logs`) do this "
        "when memory runs out"
    )


def home() -> Path:
    """The folder for what outlives a job (sealed environments, downloaded models and data).

    `SPARK_SIDECAR_HOME` wins; clusters use /opt/spark-sidecar, which their init scripts fill; a laptop follows XDG.

    Raises ConfigurationError for a user without a home folder, and where this user may not read the folder.
    """
    folder = _home()
    try:
        closed = os.path.lexists(folder) and not os.access(folder, os.R_OK | os.X_OK)
        folder.stat()
    except PermissionError:  # of a folder above it
        closed = True
    except OSError:
        return folder  # it does not exist yet, or never can: reported by whoever needs it
    if closed:
        raise ConfigurationError(
            f"user {os.getuid()} may not look into {folder}: let others read it (chmod -R o+rX {folder}, and o+x for "
            "the folders above), or set SPARK_SIDECAR_HOME to another folder, wherever drivers and workers run"
        )
    return folder


def _home() -> Path:
    if chosen := os.environ.get("SPARK_SIDECAR_HOME"):
        return Path(chosen)
    if current() is not Platform.LOCAL:
        return Path("/opt/spark-sidecar")
    return _below_home("XDG_DATA_HOME", ".local/share", variable="SPARK_SIDECAR_HOME") / "spark-sidecar"


def cache_root() -> Path:
    """The folder of models that were downloaded onto this node, private to the user; `SPARK_SIDECAR_CACHE` wins.

    On clusters it is on the local disk that is large and fast: Databricks' /local_disk0, Dataproc's first SSD.
    """
    if chosen := os.environ.get("SPARK_SIDECAR_CACHE"):
        return Path(chosen)
    if current() is Platform.LOCAL:
        return _below_home("XDG_CACHE_HOME", ".cache", variable="SPARK_SIDECAR_CACHE") / "spark-sidecar" / "models"
    disk = next(disk for disk in _DISKS if os.access(disk, os.W_OK) or disk == _DISKS[-1])
    return disk / f"spark-sidecar-models-{os.getuid()}"


def _below_home(xdg: str, folder: str, *, variable: str) -> Path:
    """A folder of a laptop's user. Raises ConfigurationError, with what to set, for a user who has no home folder."""
    if chosen := os.environ.get(xdg):
        return Path(chosen)
    try:
        return Path.home() / folder
    except RuntimeError as error:
        raise ConfigurationError(
            f"user {os.getuid()} has no home folder: HOME is not set, and the system does not know the user. Set "
            f"{variable} to a folder that this user may write to, wherever drivers and workers run"
        ) from error


def writable(folder: Path, *, variable: str) -> Path:
    """A folder that this user may write to; it is made if it does not exist.

    variable: the setting that moves it. Raises ConfigurationError where it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "it is read-only, or another user's"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ConfigurationError(
            f"user {os.getuid()} cannot write to {folder} ({reason}): do this as a user who can, or set {variable} to "
            "another folder, wherever drivers and workers run"
        )
    return folder


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
    return temporary_roots()[0]


def log_address() -> str:
    """The folder or address that logs of servers are copied to, from `SPARK_SIDECAR_LOGS`; "" for none."""
    return os.environ.get("SPARK_SIDECAR_LOGS", "")


def temporary_roots() -> list[Path]:
    """The paths that this user's private folder for temporary files may have, best first; they need not exist.

    Raises ConfigurationError where no folder for temporary files can be written.
    """
    disks = [_TEMPORARY, *reversed(_DISKS)]
    if current() is Platform.LOCAL:
        try:
            disks = [Path(tempfile.gettempdir()), *disks]
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"no folder for temporary files can be written ({error}): set SPARK_SIDECAR_STATE to a folder of this "
                "user's, on every node"
            ) from error
    return [disk / f"spark-sidecar-{os.getuid()}" for disk in dict.fromkeys(disks)]
