"""One run of a server's process: its command and environment, its health, and its end. No Spark."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_utils.environments import builder
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import engine_home, gpus, library_path, logs, scratch
from server_utils.host.processes import ProcessId, descendants, terminate
from server_utils.servers import orphans, state_dir
from server_utils.servers.launch import Launch, fill
from server_utils.servers.orphans import SERVER_MARKER, die_with, free_shared_memory

_PROBE_TIMEOUT_S = 1.0
_HEARTBEAT_TIMEOUT_S = 3.0  # a readiness file that was not touched for as long belongs to a server that hangs
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


@dataclass(frozen=True)
class LaunchContext:
    """What the placeholders of a launch stand for on this host: `{python}` for `python`, and so on.

    Attributes:
        python: the interpreter of the sealed environment; the supervisor's own for a launch without one.
        folder: the server's folder.
        scratch: its folder for temporary files.
        model: the folder of its model, "" for none.
        ports: port by name; `{port:NAME}` in a launch.
        libpython: the shared library of `python`, for a launch that needs it.
    """

    python: Path
    folder: Path
    scratch: Path
    model: str
    ports: Mapping[str, int]
    libpython: Path | None = None

    def fill(self, template: str) -> str:
        """The template with all placeholders filled in."""
        values: dict[str, object] = {name: getattr(self, name) for name in ("python", "folder", "scratch", "model")}
        values |= {f"port:{name}": port for name, port in self.ports.items()}
        if "{gpus}" in template:  # only then: to count them takes a subprocess
            values["gpus"] = max(len(gpus.visible_gpus()), 1)
        return fill(template, values)


def resolve(launch: Launch, folder: Path, ports: Mapping[str, int], model: str) -> LaunchContext:
    """The context of a launch on this host.

    Raises EnvironmentMissingError when its environment cannot run it, ConfigurationError when no scratch folder can.
    """
    python, libpython = Path(sys.executable), None
    if launch.environment is not None:
        interpreter = builder.find(launch.environment)
        python = interpreter.python
        libpython = builder.require_libpython(interpreter) if launch.needs_libpython else None
    return LaunchContext(python, folder, _make_scratch(launch, folder), model, ports, libpython)


def _make_scratch(launch: Launch, folder: Path) -> Path:
    chosen = state_dir.make_scratch(folder)
    if launch.executes_scratch and (reason := scratch.why_unusable(chosen)):
        tried = ", ".join(map(str, scratch.roots()))
        raise ConfigurationError(
            f"cannot be started: {chosen} {reason}, and the engine runs programs from there. No other place will do "
            f"({tried}): set SPARK_SIDECAR_STATE to a folder from which programs can be run, with no white space "
            "in its path, on every node"
        )
    return chosen


class EngineProcess:
    """A server's process, started when this is made. Its supervisor adopts whatever it leaves behind.

    Attributes:
        process: the identity of the leading process.
        started: when, on the monotonic clock.
    """

    def __init__(self, launch: Launch, context: LaunchContext) -> None:
        """Start the process. Raises EnvironmentMissingError when a command of the host is not there."""
        self.launch, self._context = launch, context
        self._readiness_file, self._log = context.folder / "ready.json", context.folder / "server.log"
        self._readiness_file.unlink(missing_ok=True)
        environ = _environ(launch, context)
        command = [context.fill(part) for part in launch.argv]
        if launch.environment is None:
            command[0] = _host_command(command[0], environ)
        with self._log.open("ab") as log:
            self._log_start, self.started = log.tell(), time.monotonic()
            self._child = _start(command, environ, context.folder, log.fileno())
        self.process = ProcessId.of(self._child.pid)

    def healthy(self) -> bool:
        """Whether the server answers and, if it has a readiness file, has touched that in the last seconds."""
        return (not self.launch.has_readiness_file or self._has_heartbeat()) and self._answers()

    def listening(self) -> bool:
        """Whether anybody accepts connections on the first port; a stopped process still does."""
        connection = self._connection()
        try:
            connection.connect()
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def models(self) -> dict[str, Any]:
        """The models in the readiness file; empty for a program that writes none."""
        return dict(json.loads(self._readiness_file.read_text())["models"]) if self.launch.has_readiness_file else {}

    def log_tail(self) -> str:
        """The last lines of the log since this process was started."""
        return logs.tail(self._log, since=self._log_start)

    def end(self, grace_s: float) -> int | None:
        """End the whole process tree and remove its scratch files. Returns the exit status, None if it was ended."""
        status = self._child.poll()
        terminate(lambda: descendants(os.getpid()), leader=self.process, grace_s=grace_s)
        self._child.poll()
        self.reap()
        free_shared_memory(self.process)
        shutil.rmtree(self._context.scratch, ignore_errors=True)
        return status

    def reap(self) -> None:
        """Collect the adopted processes that have ended; the leader's exit status is left for `end`."""
        try:
            while (ended := os.waitid(os.P_ALL, 0, _ENDED)) and ended.si_pid != self.process.pid:
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            pass

    def _has_heartbeat(self) -> bool:
        try:
            return time.time() - self._readiness_file.stat().st_mtime < _HEARTBEAT_TIMEOUT_S
        except FileNotFoundError:
            return False

    def _answers(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", self.launch.health)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        port = self._context.ports[self.launch.ports[0]]
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_TIMEOUT_S)


def _start(command: Sequence[str], environ: Mapping[str, str], folder: Path, log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - safe: a supervisor has one thread
    )


def _environ(launch: Launch, context: LaunchContext) -> dict[str, str]:
    """This process's environment without what belongs to Spark's Python, plus the launch's."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYSPARK_"))}
    supervisor = orphans.marker_value(ProcessId.of(os.getpid()))
    environ |= {
        SERVER_MARKER: str(context.folder),
        orphans.SUPERVISOR_MARKER: supervisor,
        "TMPDIR": str(context.scratch),
        "PYTHONUNBUFFERED": "1",
    }
    if launch.environment is not None:  # a command of the host is built for the host's CUDA
        environ |= library_path.variables(environ, context.libpython, context.folder / "libpython")
    own = {key: context.fill(value) for key, value in launch.env.items()}
    return environ | engine_home.variables(environ | own) | own


def _host_command(name: str, environ: Mapping[str, str]) -> str:
    """The full path of a command of this host. Raises EnvironmentMissingError when it is not there."""
    path = environ.get("PATH", os.defpath)
    if command := shutil.which(name, path=path):
        return command
    raise EnvironmentMissingError(
        f"cannot be started: this host has no command {name!r} (PATH is {path}). Install it on every node, or start "
        "Spark's workers with a PATH that has its folder"
    )
