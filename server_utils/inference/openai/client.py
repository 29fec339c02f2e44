"""Requests to an OpenAI-compatible server on this host: kept connections, one deadline, retries after a restart.

Executors; no Spark. What differs between engines is in `Dialect`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from server_utils.errors import InferenceError
from server_utils.host.processes import ProcessId
from server_utils.inference import request_lock
from server_utils.inference.executor_servers import RequestDeadline
from server_utils.inference.openai.dialect import Dialect
from server_utils.servers.launch import Server

_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_MAX_FAILURES = 3  # a server that fails so often on one request, and lives, will not answer it
_MAX_DEATHS = 2  # one death says nothing about what a server was answering
_TRANSIENT = frozenset({408, 425, 429, 502, 503, 504})
_NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_CONNECTIONS = 128


class RefusedError(InferenceError):
    """The server read a request and refused it: it would be refused again.

    field: the one that it names as the reason, where it names one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class TimedOutError(InferenceError):
    """A healthy server gave no answer in time."""


class DiedError(InferenceError):
    """Servers died while they answered this request. If it was sent alone, it crashed them."""


@dataclass(frozen=True)
class Attempt:
    """The result of sending a request once.

    Attributes:
        answered: whether there is a reply.
        reply: the server's.
        problem: why there is none.
        pause_s: seconds until it may be sent again.
        arrived: whether the server may have begun to answer it, so that its death may be the request's fault.
        failed: whether the server said that it failed on it.
    """

    answered: bool = False
    reply: Any = None
    problem: str = ""
    pause_s: float = _PAUSE_S
    arrived: bool = False
    failed: bool = False


class RetryPolicy:
    """The retry policy of one request: which failures it survives, and until when it is sent again."""

    def __init__(self, timeout_s: float, max_deaths: int) -> None:
        """timeout_s: for one server process."""
        self._deadline, self._max_deaths = RequestDeadline(timeout_s), max_deaths
        self._deaths = self.failures = 0
        self._arrived = False

    @property
    def left_s(self) -> float:
        """Seconds that an attempt may take."""
        return self._deadline.left_s

    def begin(self, server: Server) -> None:
        """Count the death of the process before, if this is another one. Raises DiedError after too many."""
        if not self._deadline.begin(server):
            return
        if self._arrived:
            self._deaths += 1
        if self._deaths >= self._max_deaths:
            raise DiedError("the server died while it answered this row and no other, and twice before")
        self._arrived, self.failures = False, 0

    def record(self, attempt: Attempt) -> None:
        """Note an attempt without a reply."""
        self._arrived |= attempt.arrived
        self.failures += attempt.failed

    def pause(self, attempt: Attempt) -> None:
        """Wait until the next attempt. Raises ServerUnavailableError where the deadline is before that."""
        self._deadline.pause(attempt.pause_s, attempt.problem)


class OpenAIClient:
    """Sends requests to one server. Safe to share by threads: connections are kept in a pool."""

    def __init__(
        self,
        locate: Callable[[], Server],
        *,
        timeout_s: float,
        key: str | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """Talk to the server that `locate` finds or starts; it is called again when that one is gone.

        timeout_s: seconds for one request. Time that a server needs to start is not counted: it has its own bound.
        key: the server's API key, where it has one.
        """
        self._locate, self._timeout_s, self._dialect = locate, timeout_s, dialect or Dialect()
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._pool = _Pool()
        self._server: Server | None = None

    def within(self, timeout_s: float) -> OpenAIClient:
        """A client on the same connections, with another time limit."""
        other = copy.copy(self)
        other._timeout_s = timeout_s  # noqa: SLF001 - it is one of us
        return other

    def server(self) -> Server:
        """The server that gets the next request."""
        self._server = self._server or self._locate()
        return self._server

    def send(self, path: str, body: Mapping[str, Any], *, exclusive: bool = False) -> Any:
        """POST a JSON object. Returns the reply's. exclusive: the server has no other request of this host meanwhile.

        Raises:
            RefusedError: the server refused it (4xx), or failed on it again and again (5xx); with its own words.
            TimedOutError: no answer before the deadline.
            DiedError: servers died while they answered it: two, or one when it was sent alone.
            ServerUnavailableError: no server could be reached before the deadline.
        """
        with request_lock.of_request(self.server().folder, exclusive=exclusive):  # until its result is known
            policy = RetryPolicy(self._timeout_s, 1 if exclusive else _MAX_DEATHS)
            return self._send_until_answered(path, json.dumps(body).encode(), policy)

    def _send_until_answered(self, path: str, data: bytes, policy: RetryPolicy) -> Any:
        while True:
            server = self.server()
            policy.begin(server)
            attempt = self._send_once(server, path, data, policy.left_s)
            if attempt.answered:
                return attempt.reply
            policy.record(attempt)
            self._server = None  # looked up again: the record on disk says whether it was restarted
            if policy.failures >= _MAX_FAILURES and self.server().process == server.process:
                raise RefusedError(f"the server failed {policy.failures} times on it: {attempt.problem}")
            policy.pause(attempt)

    def _send_once(self, server: Server, path: str, data: bytes, seconds: float) -> Attempt:
        """Raises RefusedError or TimedOutError where sending it again is of no use."""
        try:
            answer = self._post(server, path, data, seconds)
            if answer.status == 200:  # noqa: PLR2004
                return Attempt(answered=True, reply=json.loads(answer.data))
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TimedOutError(f"no answer within {self._timeout_s:g} s; allow more with timeout_s=") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Attempt(problem=f"{type(error).__name__}: {error}", arrived=not isinstance(error, _NOT_SENT))
        return self._rejected(answer)

    def _rejected(self, answer: urllib3.BaseHTTPResponse) -> Attempt:
        """What another status than 200 means. Raises RefusedError where it is final."""
        transient = answer.status in _TRANSIENT | self._dialect.transient
        if 400 <= answer.status < 500 and not transient:  # noqa: PLR2004
            raise RefusedError(_message(answer), _field(answer))
        failed = not transient
        arrived = failed or answer.status in self._dialect.worker_died
        return Attempt(problem=_message(answer), pause_s=_pause(answer), arrived=arrived, failed=failed)

    def _post(self, server: Server, path: str, data: bytes, seconds: float) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=min(seconds, 10.0), read=seconds)
        return self._pool.to(server).urlopen(
            "POST", path, body=data, headers=self._headers, timeout=timeout, retries=False
        )


class _Pool:
    """Connections that are kept, to one process of a server at a time. Shared by the clients that are made `within`."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[ProcessId | None, int], urllib3.HTTPConnectionPool] | None = None

    def to(self, server: Server) -> urllib3.HTTPConnectionPool:
        """Connections to this very process of the server."""
        kept, identity = self._kept, (server.process, server.ports["http"])
        if kept is None or kept[0] != identity:
            pool = urllib3.HTTPConnectionPool("127.0.0.1", server.ports["http"], maxsize=_CONNECTIONS)
            self._kept = kept = (identity, pool)
        return kept[1]


def _pause(answer: urllib3.BaseHTTPResponse) -> float:
    """Seconds until a request may be sent again."""
    try:
        return min(max(float(answer.headers.get("Retry-After", _PAUSE_S)), _PAUSE_S), _LONGEST_PAUSE_S)
    except ValueError:  # a date: servers on this host have no need of it
        return 1.0


def _message(answer: urllib3.BaseHTTPResponse) -> str:
    """What the server says is wrong: `message` in OpenAI's errors, with `details` where it has some, or `detail`."""
    error = _error(answer)
    message = error
    if isinstance(error, dict):
        message = error.get("message", error.get("detail", error))
        if details := error.get("details"):
            message = f"{message}: {json.dumps(details)}"
    return f"HTTP {answer.status}: {str(message)[:500]}"


def _field(answer: urllib3.BaseHTTPResponse) -> str | None:
    """The field of the request that is wrong: `param` in OpenAI's errors; or a path, as body.FIELD.0."""
    error = _error(answer)
    path = error.get("param") if isinstance(error, dict) else None
    return path.removeprefix("body.").partition(".")[0] if isinstance(path, str) else None


def _error(answer: urllib3.BaseHTTPResponse) -> Any:
    text = answer.data.decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        return text
    return document.get("error", document) if isinstance(document, dict) else document
