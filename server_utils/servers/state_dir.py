"""The truth about servers: one folder per server on each host, private to the user. Driver and executors; no Spark.

<state root>/<application>/<name>/<owner pid>-<owner start>[-<replica>]/
    launch.json record.json announcement token metrics.json workers/ server.log supervisor.log lock,
    and the launch's files
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.host import platform
from server_utils.host import scratch as places
from server_utils.host.files import shared_lock, slug, write_atomically
from server_utils.host.processes import ProcessId
from server_utils.servers.launch import Launch, Server, State

_DAY_S = 86_400
_SCRATCH, _PORTS = "t", "ports"


def folder(application: str, name: str, owner: ProcessId, replica: int = 0) -> Path:
    """The folder of one server, made if need be; all its parents are private to the user."""
    path = platform.state_root()
    _private(path)
    own = f"{owner.pid}-{owner.started}" + (f"-{replica}" if replica else "")
    for part in (slug(application), slug(name), own):
        path = path / part
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def folders(application: str, name: str | None = None) -> list[Path]:
    """The folders of an application's servers on this host: those of one name, or all."""
    top = platform.state_root() / slug(application)
    return sorted(top.glob(f"{slug(name) if name is not None else '*'}/*-*"))


def bury(application: str, name: str, launch_id: str) -> None:
    """Say on this host that a launch was stopped: a task that comes late must not start it again."""
    _private(platform.state_root())  # first: a folder that mkdir makes above another is open to others
    _grave(application, name, launch_id).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _grave(application, name, launch_id).touch(mode=0o600)


def buried(launch: Launch) -> bool:
    """Whether the launch was stopped on this host."""
    return _grave(launch.application, launch.name, launch.id).exists()


def _grave(application: str, name: str, launch_id: str) -> Path:
    return platform.state_root() / slug(application) / slug(name) / f"stopped.{launch_id}"


def hold() -> int:
    """Keep cleaners of /tmp away for as long as this process lives: systemd-tmpfiles passes over a locked folder."""
    return shared_lock(platform.state_root())


def scratch(server: Path, root: Path | None = None) -> Path:
    """Where a server keeps temporary files. Near the root: socket paths may have 107 bytes at most."""
    return (root or places.choose()) / _SCRATCH / hashlib.sha256(str(server).encode()).hexdigest()[:10]


def make_scratch(server: Path) -> Path:
    """Make it. Raises ConfigurationError where another user's folder is in its place."""
    path = scratch(server)
    _private(path.parents[1])
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def ports() -> Path:
    """Where the locks of leased ports are, those of all applications."""
    return platform.state_root() / _PORTS


def _private(root: Path) -> None:
    """Make the state root, or refuse one that somebody else made: it is in a folder everybody may write to."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:  # a file, or a link that leads nowhere: refused below like any other
        pass
    except OSError as error:
        raise ConfigurationError(
            f"{root} cannot be made ({error.strerror}): set SPARK_SIDECAR_STATE to a folder that this user may "
            "write to, on every node"
        ) from error
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{root} must be a folder of this user with mode 0700; it is {stat.filemode(found.st_mode)} of user "
            f"{found.st_uid}. Remove it, or set SPARK_SIDECAR_STATE to a folder of your own on every node."
        )


def write(server_folder: Path, server: Server) -> None:
    """Replace the record in one step: a reader sees the old one or the new one, never half of it."""
    write_atomically(server_folder / "record.json", _json(dataclasses.asdict(server)).encode())


def to_json(servers: Sequence[Server]) -> str:
    """For machines: an array with an object per server."""
    return _json([dataclasses.asdict(server) for server in servers])


def read(server_folder: Path) -> Server | None:
    """The record, or None before the first one is written."""
    try:
        found = json.loads((server_folder / "record.json").read_text())
    except FileNotFoundError:
        return None
    for key in ("owner", "supervisor", "process"):
        found[key] = found[key] and ProcessId(**found[key])
    return Server(**found | {"state": State(found["state"])})


def read_metrics(server_folder: Path) -> dict[str, float]:
    """What the server's engine said of itself last; empty where it says nothing."""
    try:
        return dict(json.loads((server_folder / "metrics.json").read_text()))
    except FileNotFoundError:
        return {}


def write_launch(server_folder: Path, launch: Launch) -> None:
    """Lay out what a supervisor needs: the launch, and its files beside it; not its `env`, which may hold secrets."""
    for name, content in launch.files.items():
        write_atomically(server_folder / name, content)
    plain = dataclasses.asdict(dataclasses.replace(launch, files={}, env={}))
    write_atomically(server_folder / "launch.json", json.dumps(plain).encode())


def read_launch(server_folder: Path) -> Launch:
    """The launch, without its files and its `env`."""
    found = json.loads((server_folder / "launch.json").read_text())
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Launch(**fields)


def forget_old(application: str, *, keep_s: float = 7 * _DAY_S) -> None:
    """Remove the folders of other applications that nobody touched for a week; logs stay that long for a look back."""
    root = platform.state_root()
    # On a new machine nobody has started a server yet.
    for top in root.iterdir() if root.exists() else ():
        if top.is_dir() and top.name not in (slug(application), _SCRATCH, _PORTS) and not _in_use(top, keep_s):
            for server in top.glob("*/*-*"):
                for place in places.roots():
                    shutil.rmtree(scratch(server, place), ignore_errors=True)
            shutil.rmtree(top, ignore_errors=True)


def _in_use(top: Path, keep_s: float) -> bool:
    try:
        fresh = time.time() - top.stat().st_mtime < keep_s
    except FileNotFoundError:  # another executor forgets at the same time
        return False
    return fresh or any(_supervised(record) for record in top.glob("*/*/record.json"))


def _supervised(record: Path) -> bool:
    """Not by `read`: records of other versions of this package, or cut short when the machine crashed, are here too."""
    try:
        return ProcessId(**json.loads(record.read_text())["supervisor"]).alive()
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _json(what: Any) -> str:
    return json.dumps(what, default=_plain, indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, State):
        return value.value
    raise TypeError(f"a server record cannot hold {value!r}")
