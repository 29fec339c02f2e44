"""The HTTP server, and how its parts are put together."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import json
import signal
import threading
import traceback
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from support.databricks_server import schema
from support.databricks_server.accounts import ME, TOKEN, Accounts
from support.databricks_server.catalogue import Catalogue
from support.databricks_server.clock import ServerClock
from support.databricks_server.cluster_checks import Checks
from support.databricks_server.cluster_life import Life
from support.databricks_server.clusters import Clusters
from support.databricks_server.faults import Plan
from support.databricks_server.init_scripts import InitScripts
from support.databricks_server.jobs import Jobs
from support.databricks_server.messages import Answer, Request
from support.databricks_server.nodes import Folders, Machines
from support.databricks_server.policies import Policies
from support.databricks_server.refusals import Refusal, malformed
from support.databricks_server.run_life import RunLife
from support.databricks_server.unity import Unity
from support.databricks_server.volumes import Volumes
from support.databricks_server.workspace import Workspace
from support.fakes import CrowdedServer

_PATIENCE_S = 20.0


class DatabricksServer:
    """A workspace on loopback. Use it as a context manager.

    folder: where its volumes and files are. cloud: aws, azure or gcp. nodes: makes what clusters execute on (see
    nodes.py); without it init scripts and notebooks are looked up, and succeed unless a fault is planned.
    tick_s: how far each request moves the clock. patience_s: how long a request waits for what runs on a node.

    plan: the faults to come. requests: verb and path of each request. accounts, unity, clusters, …: its parts.
    """

    def __init__(self, folder, *, cloud="aws", nodes=None, tick_s=0.0, patience_s=_PATIENCE_S):
        self.folders = Folders(Path(folder) / "Volumes", Path(folder) / "Workspace")
        self.cloud = cloud
        self.clock, self.plan, self.requests = ServerClock(tick_s), Plan(), []
        self.accounts, self.catalogue = Accounts(), Catalogue(cloud)
        self.unity = Unity(self.folders.volumes)
        self.volumes = Volumes(self.unity, self.clock)
        self.workspace = Workspace(self.accounts, self.folders.workspace)
        self.machines = Machines(self.folders, nodes)
        self.policies = Policies(self.clock)
        scripts = InitScripts(self.volumes, self.workspace, self.machines)
        self.life = Life(self.clock, scripts, self.machines, patience_s)
        checks = Checks(cloud, self.catalogue, self.accounts)
        self.clusters = Clusters(self.clock, self.life, checks, self.policies, self.plan)
        runs = RunLife(self.clock, self.clusters, self.workspace, self.volumes, self.machines, patience_s)
        self.jobs = Jobs(self.clock, runs, self.clusters, self.plan)
        self._handlers = self._table()
        self._lock = threading.RLock()

    def _table(self):
        parts = (self.accounts, self.catalogue, self.unity, self.volumes, self.workspace, self.policies, self.clusters,
                 self.jobs)  # fmt: skip
        table = {tuple(key.split(" ", 1)): handler for part in parts for key, handler in part.routes().items()}
        unknown = set(table) - set(schema.routes())
        assert not unknown, f"databricks-sdk sends no such requests: {unknown}"
        return table

    def __enter__(self):
        self._http = CrowdedServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"workspace": self}))
        self.host = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self.machines.close_all()

    def answer(self, request):
        """What a handler says to a request that has a user and fits the API."""
        route, parts = schema.find(request.verb, request.path)
        handler = self._handlers.get((route.verb, route.template))
        if handler is None:
            raise Refusal(501, "NOT_IMPLEMENTED", f"{route.verb} {route.template} is not served here")
        schema.check_query(route, request.query)
        schema.check_body(route, request.body)
        with self._lock:
            return handler(_with(request, parts))


def _with(request, parts):
    return Request(**(vars(request) | {"parts": parts}))


def profile(server, token=TOKEN):
    """The environment of a client of this server."""
    return {"DATABRICKS_HOST": server.host, "DATABRICKS_TOKEN": token}


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the workspace, writes the answer in one piece."""

    workspace: DatabricksServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self):
        sent, url = self._read(), urlsplit(self.path)
        path = unquote(url.path)
        self.workspace.clock.tick()
        self.workspace.requests.append((self.command, path))
        fault = self.workspace.plan.fault(self.command, path)
        if fault and fault.drop == "before":
            self.close_connection = True
            return
        answer = self._answer(fault, path, url.query, sent)
        if fault and fault.interrupt:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if fault and fault.drop == "after":
            self.close_connection = True
            return
        self._write(answer)

    def _read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, fault, path, query, sent):
        if fault and not (fault.drop or fault.interrupt):
            return _refused(fault.refusal())
        try:
            return _as_answer(self._dispatch(path, query, sent))
        except Refusal as refusal:
            return _refused(refusal)
        except Exception:  # noqa: BLE001  # a fault of this server: the test has to see where
            body = {"error_code": "FAKE_SERVER_FAULT", "message": traceback.format_exc()}
            return Answer(json.dumps(body).encode(), 500, _JSON)

    def _dispatch(self, path, query, sent):
        request = self._request(path, query, sent)
        if path == "/.well-known/databricks-config":
            return {"oidc_endpoint": f"{request.base}/oidc", "workspace_id": "1", "cloud": self.workspace.cloud.upper()}
        if path.startswith("/presigned/"):
            return self.workspace.volumes.presigned(request)
        user = self.workspace.accounts.of(self.headers.get("Authorization"))
        body = {} if self.command == "PUT" and path.startswith("/api/2.0/fs/") else self._body(sent)
        return self.workspace.answer(Request(**(vars(request) | {"user": user, "body": body})))

    def _request(self, path, query, sent):
        headers = {name.lower(): value for name, value in self.headers.items()}
        base = f"http://{self.headers['Host']}"
        return Request(self.command, path, parse_qs(query, keep_blank_values=True), {}, {}, sent, None, headers, base)

    def _body(self, sent):
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("multipart/form-data"):
            return _form(kind, sent)
        try:
            body = json.loads(sent) if sent else {}
        except ValueError as error:
            raise malformed(str(error)) from error
        if not isinstance(body, dict):
            raise malformed("the body must be an object")
        return body

    def _write(self, answer):
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body))} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

    def log_message(self, *_):
        """Say nothing."""


_JSON = {"Content-Type": "application/json"}


def _refused(refusal):
    return Answer(json.dumps(refusal.body()).encode(), refusal.status, _JSON | refusal.headers)


def _as_answer(body):
    if isinstance(body, Answer):
        return Answer(body.body, body.status, {"Content-Type": "application/octet-stream"} | body.headers)
    if body is None:
        return Answer(status=204)
    return Answer(json.dumps(body).encode(), 200, _JSON)


def _form(kind, sent):
    """A form with a file, as the fields of the same request in JSON."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    parts = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + sent).iter_parts()
    body = {}
    for part in parts:
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        body[name] = base64.b64encode(value).decode() if name == "content" else value.decode()
    return body | ({"overwrite": body["overwrite"] == "true"} if "overwrite" in body else {})


__all__ = ["ME", "TOKEN", "DatabricksServer", "profile"]
