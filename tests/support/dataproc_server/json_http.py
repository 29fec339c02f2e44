"""A server of JSON over HTTP on loopback, in a thread of its own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class JsonServer:
    """answer(method, path, query, body) -> the body of the answer, or (status, body). A text becomes Google's error.

    query: name -> list of texts. headers: of the answers that are errors.
    """

    def __init__(self, answer):
        self.headers: dict[str, str] = {}
        self._http = _server(self, answer)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self):
        self._http.shutdown()
        self._http.server_close()


def _server(outer, answer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self):
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            body = json.loads(sent) if sent.startswith("{") else sent
            self.reply(answer(self.command, unquote(url.path), parse_qs(url.query), body))

        do_POST = do_PATCH = do_DELETE = do_GET

        def reply(self, answered):
            status, body = answered if isinstance(answered, tuple) else (200, answered)
            if isinstance(body, str):
                body = {"error": {"code": status, "message": body, "status": "ERROR"}}
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in outer.headers.items() if status >= 400 else ():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
