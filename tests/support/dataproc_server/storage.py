"""Cloud Storage with permissions, which no server for tests has: in front of one, on loopback.

It answers what is about permissions, refuses what they do not allow, and hands on everything else.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import urllib3

from support.dataproc_server.compute import NUMBER, bindings
from support.fakes import CrowdedServer

# Method and path of a request -> what it needs.
_NEEDS = {
    r"GET /storage/v1/b/[^/]+": "storage.buckets.get",
    r"GET /storage/v1/b/[^/]+/iam": "storage.buckets.getIamPolicy",
    r"GET /storage/v1/b/[^/]+/o": "storage.objects.list",
    r"GET (/download)?/storage/v1/b/[^/]+/o/.+": "storage.objects.get",
    r"(POST|PUT) /upload/storage/v1/b/[^/]+/o": "storage.objects.create",
    r"DELETE /storage/v1/b/[^/]+/o/.+": "storage.objects.delete",
}
_OF_PROJECTS = {"storage.buckets.list", "storage.buckets.create"}
_NOT_SENT_ON = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


class Storage:
    """Every bucket is the same.

    Attributes:
        permissions: what the caller may; None for everything.
        unseen: what the caller may all the same, by an ACL or a condition, which tests of permissions leave out.
        roles: the policy, role -> members; that of a new bucket of the project at first.
        number: of the project that has the buckets.
        location: of the buckets.
        failing: pattern of method and path -> (HTTP status, message).
        email: who the caller is.
    """

    def __init__(self, port, email, project):
        self.permissions, self.unseen, self.number, self.email = None, set(), NUMBER, email
        self.location, self.failing = "US-CENTRAL1", {}
        owners = {f"projectEditor:{project}", f"projectOwner:{project}"}
        self.roles = {f"roles/storage.legacy{each}Owner": owners for each in ("Bucket", "Object")}
        self._port, self._pool = port, urllib3.PoolManager(maxsize=32)
        self._http = CrowdedServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"storage": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._pool.clear()

    def allowed(self, permission):
        return self.permissions is None or permission in self.permissions

    def answer(self, method, path, query):
        """(HTTP status, body) of what is answered here; None for what is handed on."""
        for pattern, error in self.failing.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return error
        for pattern, needed in _NEEDS.items():
            if re.fullmatch(pattern, f"{method} {path}") and not self.allowed(needed) and needed not in self.unseen:
                message = f"{self.email} does not have {needed} access to the Google Cloud Storage bucket."
                return 403, f"{message} Permission '{needed}' denied on resource (or it may not exist)."
        if re.fullmatch("/storage/v1/b/[^/]+/iam/testPermissions", path):
            return self._tested(query.get("permissions", []))
        if re.fullmatch("/storage/v1/b/[^/]+/iam", path):
            return 200, {"kind": "storage#policy", "version": 1, "etag": "CAE=", "bindings": bindings(self.roles)}
        return None

    def hand_on(self, method, path, headers, body):
        sent = {name: value for name, value in headers.items() if name.lower() not in _NOT_SENT_ON}
        url = f"http://127.0.0.1:{self._port}{path}"
        answer = self._pool.request(method, url, body=body, headers=sent, redirect=False, decode_content=False)
        if method == "GET" and answer.status == 200 and re.fullmatch(r"/storage/v1/b/[^/?]+(\?.*)?", path):
            facts = {"projectNumber": self.number, "location": self.location}
            return answer, json.dumps(json.loads(answer.data) | facts).encode()
        return answer, answer.data

    def _tested(self, asked):
        if not asked or set(asked) & _OF_PROJECTS:
            return 400, "Invalid argument."
        held = [each for each in asked if self.allowed(each)]
        return 200, {"kind": "storage#testIamPermissionsResponse"} | ({"permissions": held} if held else {})


class _Handler(BaseHTTPRequestHandler):
    storage: Storage
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self):
        url = urlsplit(self.path)
        body = self._read()
        if answered := self.storage.answer(self.command, url.path, parse_qs(url.query)):
            status, message = answered
            message = {"error": {"code": status, "message": message}} if isinstance(message, str) else message
            self._reply(status, {"Content-Type": "application/json"}, json.dumps(message).encode())
            return
        answer, content = self.storage.hand_on(self.command, self.path, self.headers, body)
        self._reply(answer.status, answer.headers, content)

    def _read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _reply(self, status, headers, content):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _NOT_SENT_ON:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

    def log_message(self, *_):
        """Say nothing."""
