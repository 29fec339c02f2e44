"""What to run (`Launch`), what runs (`Server`), and the placeholders of a launch. No Spark.

Runs on the driver, on executors and on a bare GPU machine. A backend writes the placeholder `{model}` where only the
executor knows the value. A user's text may hold the same characters: it goes through `literal` first, and arrives as it
was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from server_utils.host.processes import ProcessId

_BRACE = "{brace}"


class State(Enum):
    """The state of a server. FAILED and STOPPED are final."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether no supervisor works on this server any more."""
        return self in (State.STOPPED, State.FAILED)


@dataclass(frozen=True)
class Launch:
    """What to run: pure data, made by a backend on the driver, carried out on each executor.

    In `argv` and in the values of `env` these are filled in where the server starts: `{python}` the environment's
    interpreter, or the supervisor's where there is no environment, `{folder}` the server's folder with its files,
    `{scratch}` its folder for temporary files (a short path: sockets fit), `{model}` the folder of its model,
    `{port:NAME}` for each name in `ports`, and `{gpus}` the number of GPUs that it sees, or 1. What users give goes
    through `launch.literal`, and arrives as it is.

    Attributes:
        application: Spark's application id; servers of one application share a folder on each host.
        name: what the user calls the server; any text.
        id: one start of one manager. The same id is never started again once it failed or was stopped.
        environment: name of the sealed environment whose interpreter runs argv. None for a server that needs none: argv
            then starts with a command of the host, which is looked up on PATH.
        ports: names of the ports to reserve; the health check uses the first.
        preferred_ports: port by name, taken by the first server of a host that finds it free; others get another one.
        health: path that answers 200 while the server is healthy.
        model: path or URL of the model; a URL is fetched onto the host, once for all its servers, before the start.
        env: variables of the program's process, on top of those it inherits. They may hold secrets: they are in no
            file and no repr, and reach the program through the pipe of its supervisor.
        files: contents by name, such as the program and a cloudpickled function; laid in the server's folder.
        has_readiness_file: whether the program writes `{folder}/ready.json`, JSON with its `models`, once it serves,
            and touches it once a second from then on: its heartbeat.
        needs_libpython: whether the program links the environment's libpython, which is then found before the start.
        executes_scratch: whether the program runs files in `{scratch}`, which must then be where that is allowed.
        start_timeout_s: seconds until healthy, fetching and loading the model included.
        hang_timeout_s: seconds without a healthy answer after which a running server is replaced.
        stop_grace_s: seconds between the request to stop and SIGKILL.
        max_restarts: restarts in any ten minutes after which the server counts as failed.
        replicas: servers per executor, which deal its GPUs out among them.
        gpus: GPUs that Spark assigns to each executor; 0 where it assigns none.
    """

    application: str
    name: str
    id: str
    environment: str | None
    argv: tuple[str, ...]
    ports: tuple[str, ...]
    health: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    model: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    has_readiness_file: bool = False
    needs_libpython: bool = False
    executes_scratch: bool = False
    start_timeout_s: float = 600.0
    hang_timeout_s: float = 30.0
    stop_grace_s: float = 3.0
    max_restarts: int = 5
    replicas: int = 1
    gpus: int = 0
    preferred_ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """What runs: the record that its supervisor writes to disk.

    Attributes:
        owner: the executor's JVM; when it goes, the server goes.
        process: the server's leading process; None before the first start and between restarts.
        ports: port by name, all on loopback.
        restarts: how often it was started again after it had been healthy.
        reason: why it failed or was last restarted, for people.
        log_tail: last lines of the log at that moment.
        ready_s: seconds the latest start took until healthy; None before.
        models: from the readiness file: model name -> the engine's description of it.
        log: path of the log, in the server's folder.
        replica: which of the executor's servers it is, from 0.
    """

    launch_id: str
    name: str
    host: str
    owner: ProcessId
    supervisor: ProcessId
    state: State = State.STARTING
    process: ProcessId | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    reason: str = ""
    log: str = ""
    log_tail: str = ""
    started_at: float = 0.0
    ready_s: float | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    replica: int = 0

    def url(self, port: str, scheme: str = "http") -> str:
        """The loopback address of one of the ports: only processes of the same host can use it."""
        return f"{scheme}://127.0.0.1:{self.ports[port]}"

    @property
    def folder(self) -> Path:
        """The server's folder on its host."""
        return Path(self.log).parent

    @property
    def executor(self) -> str:
        """The executor's identity: host, JVM pid and start time. Two executors of one host differ."""
        return f"{self.host}/{self.owner.pid}-{self.owner.started}"

    @property
    def key(self) -> str:
        """The server's identity: its executor's, and which of its servers it is, from the second on."""
        return f"{self.executor}#{self.replica}" if self.replica else self.executor


@dataclass(frozen=True)
class ServerStatus(Server):
    """A server's record, and what is looked up for its status.

    Attributes:
        metrics: the engine's last metrics, where it has some (see `backends.openai_program`).
        rows: how many rows the column functions had answers to.
        errors: how many of them were errors, by kind.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    rows: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Server, **more: Any) -> ServerStatus:
        """The status of a record. more: the attributes that are not in the record."""
        return cls(**vars(record), **more)


def literal(text: str) -> str:
    """A user's text as part of a template: `fill` gives it back unchanged."""
    return text.replace("{", _BRACE)


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with a value in place of each placeholder, a name in braces; other text in braces stays.

    In one pass: a value that holds a placeholder, as a path may, is not filled in again.
    """
    by_placeholder = {_BRACE: "{"} | {f"{{{name}}}": str(value) for name, value in values.items()}
    return re.sub("|".join(map(re.escape, by_placeholder)), lambda match: by_placeholder[match[0]], template)
