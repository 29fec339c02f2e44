"""One run of a server's process: filled-in command, environment, signs of life, and its end. No Spark."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server_utils.environments import builder
from server_utils.errors import ConfigurationError
from server_utils.host import engine_home, gpus, library_path, logs, scratch
from server_utils.host.processes import ProcessId, descendants, terminate
from server_utils.servers import launch as servers_launch
from server_utils.servers import orphans, state_dir
from server_utils.servers.launch import Launch
from server_utils.servers.orphans import SERVER_MARKER, die_with, free_shared_memory

_PROBE_TIMEOUT_S = 1.0
_STALE_S = 3.0  # an announcement that was not touched for as long is no sign of life
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Attempt:
    """A server process, started when this is made. Its supervisor adopts whatever it leaves behind.

    Attributes:
        process: the identity of the leading process.
        started: when, on the monotonic clock.
    """

    def __init__(self, folder: Path, launch: Launch, ports: Mapping[str, int], model: str) -> None:
        """Start the process. model: the model's folder on this host, "" for none.

        Raises EnvironmentMissingError when its environment cannot run it, ConfigurationError when no place can.
        """
        self.launch, self._folder, self._ports, self._model = launch, folder, ports, model
        self._announcement, self._log = folder / "announcement", folder / "server.log"
        self._announcement.unlink(missing_ok=True)
        interpreter = builder.find(launch.environment)
        library = builder.require_libpython(interpreter) if launch.needs_libpython else None
        self._python, self._scratch = str(interpreter.python), self._made_scratch()
        with self._log.open("ab") as log:
            self._log_start, self.started = log.tell(), time.monotonic()
            self._child = subprocess.Popen(
                [self._fill(part) for part in launch.argv],
                env=self._environ(library),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - safe: a supervisor has one thread
            )
        self.process = ProcessId.of(self._child.pid)

    def healthy(self) -> bool:
        """Whether the server answers and, if it announces itself, has done so in the last seconds."""
        return (not self.launch.announces or self._announced_recently()) and self._answers()

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
        """What the program announced about its models; empty for one that does not announce."""
        return dict(json.loads(self._announcement.read_text())["models"]) if self.launch.announces else {}

    def log_tail(self) -> str:
        """The last lines of this attempt."""
        return logs.tail(self._log, since=self._log_start)

    def end(self, grace_s: float) -> int | None:
        """Take the whole tree down and its scratch files away. Returns the exit status it ended with by itself."""
        by_itself = self._child.poll()
        terminate(lambda: descendants(os.getpid()), leader=self.process, grace_s=grace_s)
        self._child.poll()
        self.reap()
        free_shared_memory(self.process)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return by_itself

    def reap(self) -> None:
        """Collect the adopted processes that have ended; how the leader ended is left for `end` to see."""
        try:
            while (ended := os.waitid(os.P_ALL, 0, _ENDED)) and ended.si_pid != self.process.pid:
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            pass

    def _fill(self, text: str) -> str:
        values: dict[str, object] = {
            "python": self._python,
            "folder": self._folder,
            "model": self._model,
            "scratch": self._scratch,
        }
        values |= {f"port:{name}": port for name, port in self._ports.items()}
        if "{gpus}" in text:
            values["gpus"] = max(len(gpus.visible_gpus()), 1)
        return servers_launch.fill(text, values)

    def _environ(self, libpython: Path | None) -> dict[str, str]:
        """This process's environment without what belongs to Spark's Python, plus the launch's."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYSPARK_"))}
        supervisor = orphans.identity(ProcessId.of(os.getpid()))
        environ |= {
            SERVER_MARKER: str(self._folder),
            orphans.MARK: supervisor,
            "TMPDIR": str(self._scratch),
            "PYTHONUNBUFFERED": "1",
        }
        environ |= library_path.variables(environ, libpython, self._folder / "libpython")
        own = {key: self._fill(value) for key, value in self.launch.env.items()}
        return environ | engine_home.variables(environ) | own

    def _made_scratch(self) -> Path:
        made = state_dir.make_scratch(self._folder)
        if self.launch.executes_scratch and (doubt := scratch.doubt(made)):
            looked = ", ".join(map(str, scratch.roots()))
            raise ConfigurationError(
                f"cannot be started: {made} {doubt}, and the engine runs programs from there. No other place will do "
                f"({looked}): set SPARK_SIDECAR_STATE to a folder from which programs can be run, with no white space "
                "in its path, on every node"
            )
        return made

    def _announced_recently(self) -> bool:
        try:
            return time.time() - self._announcement.stat().st_mtime < _STALE_S
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
        return http.client.HTTPConnection("127.0.0.1", self._ports[self.launch.ports[0]], timeout=_PROBE_TIMEOUT_S)
