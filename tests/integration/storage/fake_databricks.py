"""A stand-in for a Databricks workspace: the files API of volumes, and DBFS. Strict about tokens and parent folders.

Routes, fields and codes are those that databricks-sdk 0.156 asks for and expects.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from support.fakes import CrowdedServer

TOKEN = "dapi-a-token-that-no-log-may-hold"


class RefusalError(Exception):
    """An error as the service words it."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class FakeDatabricks:
    """files and folders of volumes, dbfs: path -> content. asked: method and path of each request."""

    def __init__(self):
        self.files, self.folders, self.dbfs, self.handles, self.asked = {}, set(), {}, {}, []
        self.faults = []  # statuses of the next answers to requests for files
        self._server = CrowdedServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method, path, query, sent):
        """The body of the answer: bytes of a file, or what becomes JSON."""
        if path.startswith("/api/2.0/fs/files/"):
            if self.faults:
                raise RefusalError(self.faults.pop(0), "TEMPORARILY_UNAVAILABLE", "busy")
            return self._file(method, unquote(path.removeprefix("/api/2.0/fs/files")), query, sent)
        if path.startswith("/api/2.0/fs/directories/"):
            return self._directory(method, unquote(path.removeprefix("/api/2.0/fs/directories")).rstrip("/"))
        if path.startswith("/api/2.0/dbfs/"):
            return self._dbfs(path.rpartition("/")[2], query | (json.loads(sent) if sent else {}))
        raise RefusalError(404, "ENDPOINT_NOT_FOUND", f"no API found for {method} {path}")

    def _file(self, method, path, query, sent):
        if method == "PUT":
            if path in self.files and query.get("overwrite") != "true":
                raise RefusalError(409, "ALREADY_EXISTS", "The file being created already exists.")
            if str(PurePosixPath(path).parent) not in self.folders:
                raise RefusalError(404, "NOT_FOUND", "The parent directory does not exist.")
            self.files[path] = sent
            return {}
        if path not in self.files:
            raise RefusalError(404, "NOT_FOUND", f"The file {path} does not exist.")
        if method == "DELETE":
            del self.files[path]
            return {}
        return self.files[path]

    def _directory(self, method, path):
        if method == "PUT":
            self.folders |= {str(each) for each in [PurePosixPath(path), *PurePosixPath(path).parents]}
            return {}
        if path not in self.folders:
            raise RefusalError(404, "NOT_FOUND", f"The directory {path} does not exist.")
        below = [each for each in self.folders if str(PurePosixPath(each).parent) == path and each != path]
        inside = {each: len(content) for each, content in self.files.items() if str(PurePosixPath(each).parent) == path}
        if method == "DELETE":
            if below or inside:
                raise RefusalError(400, "INVALID_PARAMETER_VALUE", "The directory is not empty.")
            self.folders.remove(path)
            return {}
        entries = [{"path": each, "name": PurePosixPath(each).name, "is_directory": True} for each in below]
        entries += [{"path": each, "name": PurePosixPath(each).name, "is_directory": False, "file_size": size}
                    for each, size in inside.items()]  # fmt: skip
        return {"contents": entries}

    def _dbfs(self, call, given):
        if call == "create":
            if given["path"] in self.dbfs and not given.get("overwrite"):
                raise RefusalError(400, "RESOURCE_ALREADY_EXISTS", f"A file exists at {given['path']}")
            self.handles[len(self.handles) + 1] = given["path"]
            self.dbfs[given["path"]] = b""
            return {"handle": len(self.handles)}
        if call == "add-block":
            self.dbfs[self.handles[given["handle"]]] += base64.b64decode(given["data"])
            return {}
        if call in ("close", "delete", "mkdirs"):
            if call == "delete":
                self.dbfs = {each: content for each, content in self.dbfs.items() if not _below(each, given["path"])}
            return {}
        path = given["path"]
        if not any(_below(each, path) for each in self.dbfs):
            raise RefusalError(404, "RESOURCE_DOES_NOT_EXIST", f"No file or directory exists on path {path}.")
        if call == "get-status":
            return {"path": path, "is_dir": path not in self.dbfs, "file_size": len(self.dbfs.get(path, b""))}
        if call == "list":
            return {"files": self._dbfs_listed(path)}
        start = int(given["offset"])
        data = self.dbfs[path][start : start + int(given["length"])]
        return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}

    def _dbfs_listed(self, path):
        names = {each[len(path) :].strip("/").split("/")[0]: each for each in self.dbfs if _below(each, path)}
        return [{"path": f"{path}/{name}", "is_dir": each != f"{path}/{name}", "file_size": len(self.dbfs[each])}
                for name, each in names.items()]  # fmt: skip


def _below(each, path):
    return each == path or each.startswith(f"{path.rstrip('/')}/")


class _Handler(BaseHTTPRequestHandler):
    fake: FakeDatabricks
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        self.fake.asked.append((self.command, url.path))
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            self._check_token()
            answer, status = self.fake.answer(self.command, url.path, query, sent), 200
        except RefusalError as refusal:
            answer, status = {"error_code": refusal.code, "message": str(refusal)}, refusal.status
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if body is answer else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Tue, 24 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _check_token(self):
        said = self.headers.get("Authorization")
        if said != f"Bearer {TOKEN}":
            raise RefusalError(403, "PERMISSION_DENIED", f"Invalid access token {said}")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_):
        """Say nothing."""
