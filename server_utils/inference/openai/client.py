"""Requests to an OpenAI-compatible server on this host: kept connections, one deadline, no way back to a dead one.

Executors; no Spark, no engine: vLLM speaks this, and so do NIM, Dynamo and SGLang.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3

from server_utils.errors import InferenceError, ServerUnavailableError
from server_utils.host.processes import ProcessId
from server_utils.inference import request_lock
from server_utils.servers.launch import Server

_PAUSE_S = 0.1
_MOST_PAUSE_S = 30.0
_FAULTS = 3  # a server that fails so often on one request, and lives, will not answer it
_DEATHS = 2  # one says nothing about what a server was answering
_PASSING = (408, 425, 429, 502, 503, 504)
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
    """A server that is well gave no answer in time."""


class DiedError(InferenceError):
    """Servers died while they answered this; asked alone, it is what they die of."""


class OpenAIClient:
    """Asks one server. Safe to share by threads: connections are kept in a pool."""

    def __init__(self, locate: Callable[[], Server], *, timeout_s: float, key: str | None = None) -> None:
        """Talk to the server that `locate` finds or starts; it is asked again when that one is gone.

        timeout_s: seconds for one request. Time that a server needs to start is not counted: it has its own bound.
        key: the server's API key, where it has one.
        """
        self._locate, self._timeout_s = locate, timeout_s
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._pool: tuple[tuple[ProcessId | None, int], urllib3.HTTPConnectionPool] | None = None
        self._server: Server | None = None

    def within(self, timeout_s: float) -> OpenAIClient:
        """The same connections for requests that may take another time."""
        other = copy.copy(self)
        other._timeout_s = timeout_s  # noqa: SLF001 - it is one of us
        return other

    def server(self) -> Server:
        """The server that is asked now."""
        self._server = self._server or self._locate()
        return self._server

    def ask(self, path: str, body: Mapping[str, Any], *, alone: bool = False) -> Any:
        """POST a JSON object. Returns the answer's. alone: the server answers nothing else on this host meanwhile.

        Raises:
            RefusedError: the server refused it (4xx), or failed on it again and again (5xx); with its own words.
            TimedOutError: no answer before the deadline.
            DiedError: servers died while they answered it: two, or one when it was asked alone.
            ServerUnavailableError: no server could be reached before the deadline.
        """
        turn, deaths = (request_lock.exclusive_request, 1) if alone else (request_lock.shared_request, _DEATHS)
        with turn(Path(self.server().log).parent):  # until it is known what became of it
            return self._ask(path, json.dumps(body).encode(), deaths)

    def _ask(self, path: str, data: bytes, most_deaths: int) -> Any:
        faults, deaths, arrived = 0, 0, False
        asked: Server | None = None
        while True:
            server = self.server()
            if asked is None or asked.process != server.process:
                deaths += arrived
                if deaths >= most_deaths:
                    raise DiedError("the server died while it answered this row and no other, and twice before")
                asked, arrived, faults, deadline = server, False, 0, time.monotonic() + self._timeout_s
            try:
                answer = self._post(server, path, data, max(deadline - time.monotonic(), 0.1))
                if answer.status == 200:  # noqa: PLR2004
                    return json.loads(answer.data)
                pause, problem = self._pause(answer), _words(answer)
                faults += answer.status not in _PASSING
                arrived |= faults > 0
            except urllib3.exceptions.ReadTimeoutError as error:
                raise TimedOutError(f"no answer within {self._timeout_s:g} s; allow more with timeout_s=") from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                arrived |= not isinstance(error, _NOT_SENT)
                pause, problem = _PAUSE_S, f"{type(error).__name__}: {error}"
            self._server = None  # asked for again: the record on disk says whether it was restarted
            if faults >= _FAULTS and self.server().process == asked.process:
                raise RefusedError(f"the server failed {faults} times on it: {problem}")
            if time.monotonic() + pause > deadline:
                raise ServerUnavailableError(
                    f"server {server.name!r} on {server.host} gave no answer within {self._timeout_s:g} s ({problem}); "
                    f"see its log {server.log}, or allow more with timeout_s="
                )
            time.sleep(pause)

    def _post(self, server: Server, path: str, data: bytes, seconds: float) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=min(seconds, 10.0), read=seconds)
        return self._connections(server).urlopen(
            "POST", path, body=data, headers=self._headers, timeout=timeout, retries=False
        )

    def _connections(self, server: Server) -> urllib3.HTTPConnectionPool:
        """Connections to this very process of the server."""
        identity = (server.process, server.ports["http"])
        if self._pool is None or self._pool[0] != identity:
            pool = urllib3.HTTPConnectionPool("127.0.0.1", server.ports["http"], maxsize=_CONNECTIONS)
            self._pool = (identity, pool)
        return self._pool[1]

    def _pause(self, answer: urllib3.BaseHTTPResponse) -> float:
        """Seconds until it may be asked again. Raises RefusedError when that is of no use."""
        if 400 <= answer.status < 500 and answer.status not in _PASSING:  # noqa: PLR2004
            raise RefusedError(_words(answer), _field(answer))
        try:
            return min(max(float(answer.headers.get("Retry-After", _PAUSE_S)), _PAUSE_S), _MOST_PAUSE_S)
        except ValueError:  # a date: servers on this host have no need of it
            return 1.0


def _words(answer: urllib3.BaseHTTPResponse) -> str:
    """What the server says is wrong."""
    error = _error(answer)
    message = error.get("message", error) if isinstance(error, dict) else error
    return f"HTTP {answer.status}: {str(message)[:500]}"


def _field(answer: urllib3.BaseHTTPResponse) -> str | None:
    """The field of the request that is wrong: `param` in OpenAI's errors; a path, where vLLM has it from pydantic."""
    error = _error(answer)
    path = error.get("param") if isinstance(error, dict) else None
    return path.removeprefix("body.").partition(".")[0] if isinstance(path, str) else None


def _error(answer: urllib3.BaseHTTPResponse) -> Any:
    text = answer.data.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found.get("error", found) if isinstance(found, dict) else found
