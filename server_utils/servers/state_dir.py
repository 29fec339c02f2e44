"""The state of servers: one folder per server on each host, private to the user. Driver and executors; no Spark.

<state root>/<application>/<name>/<owner pid>-<owner start>[-<replica>]/
    launch.json record.json ready.json token metrics.json workers/ server.log supervisor.log lock,
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
from server_utils.host import scratch as scratch_folders
from server_utils.host.files import shared_lock, slug, write_atomically
from server_utils.host.processes import ProcessId
from server_utils.servers.launch import Launch, Server, State

_DAY_S = 86_400
_SCRATCH = "t"


def folder(application: str, name: str, owner: ProcessId, replica: int = 0) -> Path:
    """The folder of one server, made if need be; all its parents are private to the user."""
    path = platform.state_root()
    _make_private(path)
    own = f"{owner.pid}-{owner.started}" + (f"-{replica}" if replica else "")
    for part in (slug(application), slug(name), own):
        path = path / part
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def folders(application: str, name: str | None = None) -> list[Path]:
    """The folders of an application's servers on this host: those of one name, or all."""
    top = platform.state_root() / slug(application)
    return sorted(top.glob(f"{slug(name) if name is not None else '*'}/*-*"))


def mark_stopped(application: str, name: str, launch_id: str) -> None:
    """Mark a launch as stopped on this host: a late task must not start it again."""
    _make_private(platform.state_root())  # first: parents that mkdir makes are open to others
    tombstone = _tombstone(application, name, launch_id)
    tombstone.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    tombstone.touch(mode=0o600)


def is_stopped(launch: Launch) -> bool:
    """Whether the launch was stopped on this host."""
    return _tombstone(launch.application, launch.name, launch.id).exists()


def _tombstone(application: str, name: str, launch_id: str) -> Path:
    return platform.state_root() / slug(application) / slug(name) / f"stopped.{launch_id}"


def lock_root() -> int:
    """Lock the state root until this process ends: systemd-tmpfiles, which cleans /tmp, skips a locked folder."""
    return shared_lock(platform.state_root())


def scratch(server: Path, root: Path | None = None) -> Path:
    """The folder of a server's temporary files. Its path is short: socket paths may have 107 bytes at most."""
    return (root or scratch_folders.choose()) / _SCRATCH / hashlib.sha256(str(server).encode()).hexdigest()[:10]


def make_scratch(server: Path) -> Path:
    """Make that folder. Raises ConfigurationError where another user's folder is in its place."""
    path = scratch(server)
    _make_private(path.parents[1])
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _make_private(root: Path) -> None:
    """Make the state root, or refuse one that is another user's: it is in a folder that everybody may write to."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:  # a file, or a link that leads nowhere: refused below like any other
        pass
    except OSError as error:
        raise ConfigurationError(
            f"{root} cannot be made ({error.strerror}): set SPARK_SIDECAR_STATE to a folder that this user may "
            "write to, on every node"
        ) from error
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigurationError(
            f"{root} must be a folder of this user with mode 0700; it is {stat.filemode(status.st_mode)} of user "
            f"{status.st_uid}. Remove it, or set SPARK_SIDECAR_STATE to a folder of your own on every node."
        )


def write(server_folder: Path, server: Server) -> None:
    """Replace a server's record in one step."""
    write_atomically(server_folder / "record.json", _json(dataclasses.asdict(server)).encode())


def to_json(servers: Sequence[Server]) -> str:
    """Servers as JSON: an array with an object per server."""
    return _json([dataclasses.asdict(server) for server in servers])


def read(server_folder: Path) -> Server | None:
    """The record, or None before the first one is written."""
    try:
        fields = json.loads((server_folder / "record.json").read_text())
    except FileNotFoundError:
        return None
    for key in ("owner", "supervisor", "process"):
        fields[key] = fields[key] and ProcessId(**fields[key])
    return Server(**fields | {"state": State(fields["state"])})


def read_metrics(server_folder: Path) -> dict[str, float]:
    """The last metrics of the server's engine; empty where it has none."""
    try:
        return dict(json.loads((server_folder / "metrics.json").read_text()))
    except FileNotFoundError:
        return {}


def write_launch(server_folder: Path, launch: Launch) -> None:
    """Write the launch for its supervisor, and its files beside it, but not its `env`, which may hold secrets."""
    for name, content in launch.files.items():
        write_atomically(server_folder / name, content)
    plain = dataclasses.asdict(dataclasses.replace(launch, files={}, env={}))
    write_atomically(server_folder / "launch.json", json.dumps(plain).encode())


def read_launch(server_folder: Path) -> Launch:
    """The launch, without its files and its `env`."""
    plain = json.loads((server_folder / "launch.json").read_text())
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    return Launch(**fields)


def remove_old(application: str, *, keep_s: float = 7 * _DAY_S) -> None:
    """Remove the folders of other applications that were not changed for a week. Until then their logs are kept."""
    root = platform.state_root()
    # There is no root before the first server of a machine.
    for top in root.iterdir() if root.exists() else ():
        if top.is_dir() and top.name not in (slug(application), _SCRATCH) and not _in_use(top, keep_s):
            for server in top.glob("*/*-*"):
                for scratch_root in scratch_folders.roots():
                    shutil.rmtree(scratch(server, scratch_root), ignore_errors=True)
            shutil.rmtree(top, ignore_errors=True)


def _in_use(top: Path, keep_s: float) -> bool:
    try:
        fresh = time.time() - top.stat().st_mtime < keep_s
    except FileNotFoundError:  # another executor removes it at the same time
        return False
    return fresh or any(_supervised(record) for record in top.glob("*/*/record.json"))


def _supervised(record: Path) -> bool:
    """Not by `read`: the record may be of another version of this package, or incomplete after a crash."""
    try:
        return ProcessId(**json.loads(record.read_text())["supervisor"]).alive()
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _json(what: Any) -> str:
    return json.dumps(what, default=_state_value, indent=2)


def _state_value(value: Any) -> Any:
    if isinstance(value, State):
        return value.value
    raise TypeError(f"a server record cannot hold {value!r}")
