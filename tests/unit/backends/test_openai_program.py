"""What the program of an OpenAI-compatible sidecar reads of its engine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from server_utils.backends.openai import PROGRAM, Engine, check_fields
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.request import Endpoint

PAGE = """# HELP engine_running Requests.
engine_running{engine="0"} 2.0
engine_running{engine="1"} 1.0
engine_tokens_total 1e3
engine_other 7
"""


@pytest.fixture
def program(monkeypatch):
    """The program as a module; it is not imported by this package."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("openai_program", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "openai_program", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serve():
    """serve({path: JSON}): the port of a server with these pages."""
    servers = []

    def serve(pages):
        class Pages(BaseHTTPRequestHandler):
            def do_GET(self):
                page = pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(page).encode())

        server = HTTPServer(("127.0.0.1", 0), Pages)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_metrics_are_read_by_the_engines_names_and_added_up(program):
    names = {"running": "engine_running", "tokens_out": "engine_tokens_total", "waiting": "engine_waiting"}
    assert program.read_metrics(PAGE, names) == {"running": 3.0, "tokens_out": 1000.0, "waiting": 0.0}


def test_fields_come_from_the_interface_description_and_are_free_where_it_names_none(program, serve):
    named = {"schema": {"$ref": "#/components/schemas/Asked"}}
    openapi = {
        "paths": {
            "/v1/completions": {"post": {"requestBody": {"content": {"application/json": named}}}},
            "/v1/chat/completions": {"post": {"requestBody": {"content": {"application/json": {"schema": {}}}}}},
        },
        "components": {"schemas": {"Asked": {"properties": {"prompt": {}, "temperature": {}}}}},
    }
    port = serve({"/openapi.json": openapi, "/v1/models": {"data": [{"id": "m", "max_model_len": 512}]}})

    described = program.describe(program.Settings("m"), port, {"version": "1"})["m"]

    fields = {"/v1/completions": ["prompt", "temperature"], "/v1/chat/completions": []}
    assert described == {"max_model_len": 512, "fields": fields, "version": "1"}
    check_fields(Endpoint.GENERATE, {"temperature": 0}, fields)
    check_fields(Endpoint.CHAT, {"anything": 0}, fields)
    with pytest.raises(ConfigurationError, match="has no field 'temprature'; did you mean temperature"):
        check_fields(Endpoint.GENERATE, {"temprature": 0}, fields)
    with pytest.raises(ConfigurationError, match="do not offer /v1/embeddings; start them with runner"):
        check_fields(Endpoint.EMBED, {}, fields, how={Endpoint.EMBED: "runner"})


def test_a_model_that_the_server_knows_by_another_name_has_the_name_of_the_manager(program, serve):
    port = serve({"/v1/models": {"data": [{"id": "/a/folder", "max_model_len": 64}]}})
    assert program.describe(program.Settings("m"), port, {}) == {"m": {"max_model_len": 64, "fields": None}}


def test_a_server_that_says_nothing_of_itself_is_not_checked(program, serve):
    assert program.describe(program.Settings("m"), serve({}), {}) == {"m": {"max_model_len": None, "fields": None}}
    check_fields(Endpoint.EMBED, {"anything": 1}, None)
    with pytest.raises(ConfigurationError, match="stream cannot be chosen: answers come whole"):
        check_fields(Endpoint.EMBED, {"stream": True}, None)


def test_a_command_that_is_not_there_is_named(tmp_path):
    for name, content in Engine(("no-such-engine", "serve")).files("m", Dialect()).items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "program.py", "ready.json", "1", "300", "no-such-engine", "serve"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert (
        ended.stderr == "there is no command 'no-such-engine' on this host: install it on every node, or correct PATH\n"
    )
