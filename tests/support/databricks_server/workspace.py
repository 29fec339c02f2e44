"""The workspace's folders, notebooks and files: import, export, list, delete."""

from __future__ import annotations

import base64
import itertools
import json
import re
from dataclasses import dataclass

from support.databricks_server import notebooks
from support.databricks_server.messages import Answer
from support.databricks_server.refusals import Refusal, denied, invalid, missing

_MOST_BYTES = 10 * 2**20
_HEADER = b"# Databricks notebook source"
_API = "/api/2.0/workspace"


@dataclass(frozen=True)
class Thing:
    """kind: DIRECTORY, NOTEBOOK or FILE. content: of a notebook, as an .ipynb."""

    kind: str
    number: int
    content: bytes = b""
    language: str | None = None


class Workspace:
    """things: path without /Workspace -> Thing. folder: of this host, where nodes find the files as /Workspace."""

    def __init__(self, accounts, folder):
        self._accounts, self.folder = accounts, folder
        self._numbers = itertools.count(1001)
        self.things = {}
        self._make_folders("/Shared")

    def routes(self):
        return {
            f"POST {_API}/mkdirs": self._mkdirs,
            f"POST {_API}/import": self._import,
            f"GET {_API}/export": self._export,
            f"GET {_API}/get-status": lambda request: self._status(_path(request.option("path"))),
            f"GET {_API}/list": self._list,
            f"POST {_API}/delete": self._delete,
        }

    def find(self, path):
        """The thing at a path. Raises Refusal."""
        self._make_homes()
        if _path(path) not in self.things:
            raise missing(f"Path ({path}) doesn't exist.")
        return self.things[_path(path)]

    def _make_homes(self):
        for account in self._accounts.all():
            if account.home:
                self._make_folders(f"/Users/{account.name}")

    def _make_folders(self, path):
        parts = path.strip("/").split("/")
        for depth in range(len(parts) + 1):
            each = "/" + "/".join(parts[:depth])
            if each not in self.things:
                self.things[each] = Thing("DIRECTORY", next(self._numbers))
                self._on_disk(each).mkdir(parents=True, exist_ok=True)

    def _on_disk(self, path):
        return self.folder / path.strip("/")

    def _mkdirs(self, request):
        path = _path(request.body["path"])
        self._make_homes()
        self._check_writable(request, path)
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            each = self.things.get("/" + "/".join(parts[:depth]))
            if each is not None and each.kind != "DIRECTORY":
                raise Refusal(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) is a {each.kind.lower()}.")
        self._make_folders(path)
        return {}

    def _check_writable(self, request, path):
        """A home folder is its owner's; and only making the account there, not a request, makes the folder."""
        parts = path.strip("/").split("/")
        if parts[0] == "Users" and not request.user.admin and parts[1:2] != [request.user.name]:
            raise denied(f"User {request.user.name} does not have MANAGE permissions on {path}.")
        if parts[0] not in {"Users", "Shared"} and not request.user.admin:
            raise denied(f"User {request.user.name} does not have MANAGE permissions on the root folder.")
        if parts[0] == "Users" and f"/Users/{parts[1]}" not in self.things:
            raise missing(f"The parent folder (/Users/{parts[1]}) does not exist.")

    def _import(self, request):
        path, content = _path(request.body["path"]), base64.b64decode(request.body.get("content") or "")
        if len(content) > _MOST_BYTES:
            words = f"File size imported is ({len(content)} bytes), exceeded max size ({_MOST_BYTES} bytes)"
            raise Refusal(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", words)
        self._make_homes()
        self._check_writable(request, path)
        path, kind, content = _read(path, request.body, content)
        self._put(path, kind, content, overwrite=request.body.get("overwrite") or False)
        return {"object_id": self.things[path].number} if self.things[path].kind == "NOTEBOOK" else {}

    def _put(self, path, kind, content, *, overwrite):
        parent = path.rpartition("/")[0] or "/"
        if parent not in self.things:
            raise missing(f"The parent folder ({parent}) does not exist.")
        there = self.things.get(path)
        if there is not None and (not overwrite or there.kind != kind):
            raise Refusal(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.")
        number = there.number if there else next(self._numbers)
        self.things[path] = Thing(kind, number, content, "PYTHON" if kind == "NOTEBOOK" else None)
        if kind == "FILE":
            self._on_disk(path).write_bytes(content)

    def _export(self, request):
        path = request.option("path")
        thing, kind = self.find(path), request.option("format") or "SOURCE"
        if thing.kind == "DIRECTORY":
            raise invalid(f"{path} is a directory; only DBC and SOURCE archives of directories can be exported.")
        content = thing.content if thing.kind == "FILE" else notebooks.exported(json.loads(thing.content), kind)
        if request.option("direct_download") == "true":
            return Answer(content)
        return {"content": base64.b64encode(content).decode(), "file_type": "py"}

    def _status(self, path):
        thing = self.find(path)
        status = {"path": path, "object_type": thing.kind, "object_id": thing.number, "resource_id": str(thing.number)}
        return status | ({"language": thing.language} if thing.language else {})

    def _list(self, request):
        path = _path(request.option("path"))
        if self.find(path).kind != "DIRECTORY":
            return {"objects": [self._status(path)]}
        return {"objects": [self._status(each) for each in self.things if each != "/" and _parent(each) == path]}

    def _delete(self, request):
        path = _path(request.body["path"])
        self.find(path)
        self._check_writable(request, path)
        below = [each for each in self.things if each.startswith(f"{path.rstrip('/')}/")]
        if below and not request.body.get("recursive"):
            raise Refusal(400, "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty")
        for each in [*reversed(below), path]:
            disk = self._on_disk(each)
            if self.things.pop(each).kind == "FILE":
                disk.unlink()
            elif disk.is_dir():
                disk.rmdir()
        return {}


def _path(path):
    path = re.sub(r"^/Workspace(?=/)", "", path or "")
    if not path.startswith("/"):
        raise invalid(f"Path ({path}) doesn't start with '/'")
    return path.rstrip("/") or "/"


def _parent(path):
    return path.rpartition("/")[0] or "/"


def _read(path, given, content):
    """(path, kind, content) of what is imported: a notebook becomes an .ipynb, and loses its suffix with AUTO."""
    kind = given.get("format") or "SOURCE"
    if kind == "RAW":
        return path, "FILE", content
    if kind == "AUTO":
        if path.endswith(".ipynb"):
            return path.removesuffix(".ipynb"), "NOTEBOOK", _checked(content)
        if content.startswith(_HEADER):
            return path.removesuffix(".py"), "NOTEBOOK", notebooks.from_source(content)
        return path, "FILE", content
    if kind == "JUPYTER":
        return path, "NOTEBOOK", _checked(content)
    if kind != "SOURCE":
        raise invalid(f"The format {kind} is not served here.")
    if given.get("language") is None:
        raise invalid("The language must be specified for the SOURCE format.")
    if given["language"] != "PYTHON":
        raise invalid(f"The language {given['language']} is not served here.")
    return path, "NOTEBOOK", notebooks.from_source(content)


def _checked(content):
    try:
        right = isinstance(json.loads(content)["cells"], list)
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise invalid("The notebook is no valid JUPYTER file.")
    return content
