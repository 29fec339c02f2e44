"""One server per executor: start, status, stop. Driver; what runs on executors is in `executor_tasks`.

Knows no engine: a backend makes the `Launch` and adds what its users call.

A start has two phases. Tasks that stay until their peers are ready have to agree on it, and an exchange takes a second
(`spark.executors`). So the first seconds are short jobs, whose tasks end as soon as their own servers are ready. Only a
start that takes longer gets tasks that hold their slots until its end, so that no other job takes these.
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from server_utils.backends import executor_tasks
from server_utils.backends.executor_tasks import Outcome, merge
from server_utils.errors import ConfigurationError, ServerStartError, ServerUnavailableError, SidecarError
from server_utils.jobs import monitor, resumable
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import Launch, Server, ServerStatus
from server_utils.spark import executors, session, worker_python
from server_utils.spark.executors import TaskPlacement, on_each_executor
from server_utils.storage import urls
from server_utils.validation import checked

logger = logging.getLogger(__name__)
_STATUS_TIMEOUT_S = 60.0
MANAGER_OPTIONS = ("hang_timeout_s", "stop_grace_s", "max_restarts")
SHORT_POLLS, _SHORT_POLL_S = 4, 2.0  # a failure is to be reported within three seconds
_CANCEL_AFTER_S = 10.0  # the tasks watch the time themselves; a job is cancelled only this much later


class ServerManager:
    """Starts, watches and stops one server per executor of a Spark application.

    A context manager: leaving the block stops the servers. Without it they stop with `stop_servers()`, or by
    themselves when their executor ends.

    Attributes:
        model_name: the name of the servers; any text. One manager per name and application.
        model_path: the model, which the user's function or the engine gets; None for none. A URL (s3://, gs://,
            /Volumes/…, or a folder that `save_model` made) is downloaded to each host once, and stands for its folder
            there. A path that exists on the driver, or begins with ~, ./ or ../, is made absolute. Any other text stays
            as it is. In a file URL, and nowhere else, %20 is a space.
        environment: the sealed environment of the servers; None for a backend that runs a command of the host.
    """

    environment: str | None = None

    run = resumable.run
    progress = monitor.progress

    def __init__(self, model_name: str, model_path: str | Path | None = None, *, spark: Any = None) -> None:
        """Describe the servers; nothing is started. spark: the session, by default the active one."""
        if not isinstance(model_name, str) or not model_name.strip():
            raise ConfigurationError(f"model_name must be a text that is not empty; it is {model_name!r}")
        self.model_name, self.model_path = model_name, None if model_path is None else urls.from_driver(model_path)
        self._spark = spark
        self._current: Launch | None = None
        self._key: object = None  # of the current launch
        self._servers: dict[str, Server] = {}  # by key
        self._on_this_host = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_servers()

    @property
    def models(self) -> dict[str, Any]:
        """The models of the servers: name -> the engine's own description of it."""
        return dict(next(iter(self._started().values())).models)

    @property
    def urls(self) -> dict[str, str]:
        """HTTP address of every server by its key (host/pid-start). Loopback: it works on that host only."""
        return {key: server.url("http") for key, server in self._started().items()}

    @property
    def host_to_http_url(self) -> dict[str, str]:
        """HTTP address by host name; for clients of your own, which look up `socket.gethostname()` in their task.

        It has one server per host, also of a host with several executors; the column functions use all servers.
        """
        return self._host_to_url("http", "http")

    def status(self) -> list[ServerStatus]:
        """The status of every server of this name: state, restarts, ports, reasons.

        If all executors run on this host it answers at once. Else it is a Spark job, which waits for free slots.
        """
        spark = session.session(self._spark)
        read = functools.partial(executor_tasks.read_servers, session.application(spark), self.model_name)
        local = session.on_this_host(spark)
        hosts = [read(None)] if local else on_each_executor(spark, read, timeout_s=_STATUS_TIMEOUT_S)
        unique = {server.key: server for servers in hosts for server in servers}
        return [unique[key] for key in sorted(unique)]

    def status_json(self) -> str:
        """`status()` as JSON: an array with an object per server."""
        return state_dir.to_json(self.status())

    def stop_servers(self) -> None:
        """Stop every server of this name, whoever started it. It may be called twice, or before a start.

        Raises ServerStopError when a process survives SIGKILL.
        """
        launch, self._current, self._servers = self._current, None, {}
        self._stop(launch)

    def _stop(self, launch: Launch | None) -> None:
        """Stop all servers of this name, and this launch for good: no task that comes late starts it again."""
        spark = self._spark if self._spark is not None else session.active()
        if spark is None or session.is_stopped(spark):
            # The executors are gone, and their servers with them; but in local mode the driver's JVM is the executor.
            if launch and self._on_this_host:
                executor_tasks.stop_servers(launch.application, self.model_name, launch.id, None)
            return
        stop = functools.partial(
            executor_tasks.stop_servers, session.application(spark), self.model_name, launch.id if launch else None
        )
        if session.on_this_host(spark):
            stop(None)
        else:
            on_each_executor(spark, stop, timeout_s=_STATUS_TIMEOUT_S)

    def _launch(self, **fields: Any) -> Launch:
        """What to run: the backend's half of a launch, with these fields filled in."""
        raise NotImplementedError

    def _start(
        self,
        *,
        key: object,
        files: Mapping[str, bytes],
        timeout_s: float,
        options: Mapping[str, Any],
        replicas: int = 1,
    ) -> None:
        """Start the servers. Those that run already are kept, unless one has failed. key: equal for equal servers."""
        spark = self._spark = session.session(self._spark)
        self._on_this_host = session.on_this_host(spark)
        launch = self._running_launch(spark, key)
        self._current = None
        if launch is None or not self._ensure(spark, launch):
            launch = self._launch(
                application=session.application(spark),
                name=self.model_name,
                id=uuid.uuid4().hex,
                environment=self.environment,
                files=files,
                model=self.model_path,
                start_timeout_s=timeout_s,
                replicas=replicas,
                gpus=session.gpus_per_executor(spark),
                **checked(options, MANAGER_OPTIONS),
            )
            self._start_everywhere(spark, launch)
        self._current, self._key = launch, key

    def _running_launch(self, spark: Any, key: object) -> Launch | None:
        """The launch that runs already. Raises ConfigurationError when it is another one than is wanted."""
        launch = self._current
        if launch is None or launch.application != session.application(spark):
            return None  # or of a session that has ended, and its servers with it
        if self._key != key:
            raise ConfigurationError(
                f"the servers of {self.model_name!r} run with another function or other options; "
                "call stop_servers() first"
            )
        return launch

    def _ensure(self, spark: Any, launch: Launch) -> bool:
        """Ensure that the servers of a launch run. Returns False when one has failed; the others are stopped then."""
        try:
            self._start_everywhere(spark, launch)
        except ServerStartError as error:
            logger.warning("all servers of %r are started anew: %s", self.model_name, error)
            return False
        return True

    def _start_everywhere(self, spark: Any, launch: Launch) -> None:
        """Start the servers of a launch and keep their records. Raises ServerStartError when one has failed."""
        began = time.monotonic()
        try:
            outcomes = start(spark, launch)
        except (SidecarError, KeyboardInterrupt):
            self._stop(launch)
            raise
        servers = [server for outcome in outcomes for server in outcome.servers]
        if failures := [outcome.failure for outcome in outcomes if outcome.failure]:
            if any(lifecycle.is_supervised(server) for server in servers):
                self._stop(launch)
            raise ServerStartError("\n\n".join(failures))
        self._servers = {server.key: server for server in servers}
        logger.info("%d servers of %r are ready after %.1f s", len(servers), self.model_name, time.monotonic() - began)

    def _started(self) -> dict[str, Server]:
        self._running()
        return self._servers

    def _running(self) -> Launch:
        if self._current is None:
            raise ServerUnavailableError(
                f"the servers of {self.model_name!r} are not running; call start_servers() first"
            )
        return self._current

    def _host_to_url(self, port: str, scheme: str) -> dict[str, str]:
        return {server.host: server.url(port, scheme) for server in self._started().values()}


def start(spark: Any, launch: Launch) -> list[Outcome]:
    """Start the servers, and wait until all are ready, or one failed and the others were killed.

    Raises PlacementError when Spark has no room for a task on every executor in time.
    """
    deadline = time.monotonic() + launch.start_timeout_s
    plan = executors.plan_tasks(spark, deadline=deadline + _CANCEL_AFTER_S)
    driver = worker_python.driver(spark)

    def left_s() -> float:
        return deadline - time.monotonic()

    def on_executors(task: Callable[[TaskPlacement], Outcome]) -> list[Outcome]:
        return on_each_executor(spark, task, timeout_s=left_s() + _CANCEL_AFTER_S, plan=plan)

    for _ in range(SHORT_POLLS):
        poll = functools.partial(executor_tasks.start_and_poll, launch, _SHORT_POLL_S, left_s())
        outcomes = on_executors(functools.partial(executor_tasks.checking_python, driver, poll))
        if any(outcome.failure for outcome in outcomes):
            return merge(outcomes, on_executors(functools.partial(executor_tasks.kill_servers, launch)))
        if all(len(outcome.servers) == launch.replicas for outcome in outcomes):
            return outcomes
    return on_executors(functools.partial(executor_tasks.start_and_wait, launch, left_s()))
