"""A model hub on loopback, as far as huggingface-hub asks it to list and to send the files of a repository."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from support.fakes import CrowdedServer

TOKEN, COMMIT = "hf_a_token_that_no_log_may_hold", "a" * 40


@contextlib.contextmanager
def fake_hub(repositories, *, gated="gated"):
    """Its address. repositories: {"org/name" or "datasets/org/name": {"file": bytes}}.

    gated: repositories with this in their names want TOKEN; all do, if it is empty.
    """
    handler = type("Hub", (_Hub,), {"repositories": repositories, "gated": gated})
    server = CrowdedServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def settings(hub, home):
    """Environment variables for a process that asks it; the library reads them when it is imported."""
    return {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


def _git_hash(content):
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - as git and the hub name files


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, bytes]]
    gated: str

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        if self.gated in path and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, b"", {"X-Error-Code": "GatedRepo"})
        for name, files in self.repositories.items():
            if f"{path}/".startswith(f"/api/{name if name.startswith('datasets/') else f'models/{name}'}/"):
                return self._send(200, json.dumps(self._about(files, tree="/tree/" in path)).encode())
            if path.startswith(f"/{name}/resolve/"):
                content = files.get(path.removeprefix(f"/{name}/resolve/").partition("/")[2])
                if content is not None:
                    return self._send(200, content, {"ETag": f'"{_git_hash(content)}"', "X-Repo-Commit": COMMIT})
        return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _about(self, files, *, tree):
        if tree:
            return [
                {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
                for name, content in files.items()
            ]
        siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
        return {"id": "org/name", "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""
