"""An HTTP server in front of another one, as bad as its plan says. Notes what was asked."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.fakes import CrowdedServer


@dataclass
class Fault:
    """What goes wrong with the requests that fit, after `skip` of them and so many `times`.

    header: what the name of one of its headers begins with, if that is to count.
    do: "answer" (status, headers and body instead of the other server's), "reset" (half of the answer, then RST),
        "truncate" (half of the answer, then a clean end), "damage" (a byte of the answer), "damage sent" (a byte of
        what is sent), "drop" (RST before anything is passed on), "call" (a function, before the request is passed on).
    """

    do: str
    method: str = "GET"
    path: str = ""
    header: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    call: Callable[[], None] | None = None

    def fits(self, method: str, path: str, headers: Collection[str]) -> bool:
        if method != self.method or not re.search(self.path, path) or self.times == 0:
            return False
        if not any(name.lower().startswith(self.header) for name in headers):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FaultyProxy:
    """Between a client and a server on this machine. asked, answered: method and path of each
    request, in their order.

    To a client that takes it for its way out (HTTP_PROXY) every host is the server behind, and stands for `bucket`.
    """

    bucket = "models"

    def __init__(self, port: int) -> None:
        self.behind, self.lock = port, threading.Lock()
        self.plan()
        self._server = CrowdedServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def plan(self, *faults: Fault) -> None:
        """From now on these go wrong, and nothing else; forgets what was asked."""
        self.faults, self.asked, self.answered = list(faults), [], []

    def count(self, method: str, path: str) -> int:
        """How often was asked for it."""
        return sum(1 for each, where in list(self.asked) if each == method and re.search(path, where))

    def has_answered(self, path: str) -> bool:
        """Whether a request for it was answered, or is about to be."""
        return any(re.search(path, where) for _, where in list(self.answered))

    def fault_of(self, method: str, path: str, headers: Collection[str]) -> Fault | None:
        with self.lock:
            self.asked.append((method, path))
            return next((fault for fault in self.faults if fault.fits(method, path, headers)), None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection; `proxy` is set by the subclass that each proxy makes."""

    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _pass_on(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault_of(self.command, self.path, self.headers.keys())
        do = fault.do if fault else ""
        if fault and fault.call:
            fault.call()
        if do == "drop":
            self._reset()
        elif do == "answer":
            self._answer(fault.status, dict(fault.headers), fault.body)
        else:
            status, headers, body = self._ask(_damaged(sent) if do == "damage sent" else sent)
            self._answer(status, headers, _damaged(body) if do == "damage" else body, end=do)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _pass_on

    def _ask(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        behind = http.client.HTTPConnection("127.0.0.1", self.proxy.behind, timeout=60)
        try:
            headers = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
            path = self.path
            if path.startswith("http://"):  # the host is that of a bucket
                path = f"/{self.proxy.bucket}/{path.removeprefix('http://').partition('/')[2]}"
                del headers["Host"]
            behind.request(self.command, path, body=sent or None, headers=headers)
            answer = behind.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            behind.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, end: str = "") -> None:
        self.proxy.answered.append((self.command, self.path))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value.replace(f":{self.proxy.behind}/", f":{self.proxy.port}/"))
        length = headers.get("Content-Length", len(body)) if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if end not in ("reset", "truncate"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        if end == "reset":
            self._reset()
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client was killed, or we have reset the connection
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked is noted."""


def _damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :] if content else content
