"""A model hub as a source: copied once, by huggingface-hub against a stand-in for the hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from support.fakes import ROOT, CrowdedServer

from integration.storage.places import contents
from server_utils import ConfigurationError, local_model

TOKEN, COMMIT = "hf_a_token_that_no_log_may_hold", "a" * 40
FILES = {"config.json": b"{}", "onnx/model é.onnx": b"weights"}


def git_hash(content):
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - as git and the hub name files


class Hub(BaseHTTPRequestHandler):
    """One public repository, org/name, and one that wants a token, org/gated."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def _answer(self):
        if "gated" in self.path and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, b"", {"X-Error-Code": "GatedRepo"})
        if "/api/models/org/" in self.path and "nothing" not in self.path:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}
                for name, content in FILES.items()
            ]
            info = {"id": "org/name", "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
            return self._send(200, json.dumps(tree if "/tree/" in self.path else info).encode())
        for name, content in FILES.items():
            if name.split("/")[-1].split(" ")[0] in self.path and "/resolve/" in self.path:
                etag = f'"{git_hash(content)}"'
                return self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})
        return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub():
    server = CrowdedServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def push(hub, source, url, **environ):
    """In a process of its own: the library reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": f"{url}-home",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = "from integration.storage import loopback; from server_utils.cli.main import app; app()"
    return subprocess.run(
        [sys.executable, "-c", code, "models", "push", source, str(url)], capture_output=True, text=True, check=False,
        env=os.environ | settings | environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )  # fmt: skip


@pytest.mark.parametrize("source", ["hf://org/name", "hf://org/name@v1"])
def test_a_model_of_the_hub_is_copied_once(hub, tmp_path, source):
    done = push(hub, source, tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert contents(local_model(tmp_path / "m")) == FILES


def test_a_token_is_taken_from_the_environment_and_never_told(hub, tmp_path):
    done = push(hub, "hf://org/gated", tmp_path / "m", HF_TOKEN=TOKEN, SPARK_SIDECAR_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("source", ["hf://org/gated", "hf://org/nothing"])
def test_a_model_that_may_not_be_read_is_one_error_that_says_what_to_do(hub, tmp_path, source):
    done = push(hub, source, tmp_path / "m")
    assert done.returncode == 1
    assert "that may be read: check the name" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m").exists()


def test_nodes_do_not_load_from_a_hub(tmp_path):
    with pytest.raises(ConfigurationError, match=r"is a source to copy from, once.*model_url\('name'\)"):
        local_model("hf://org/name")
