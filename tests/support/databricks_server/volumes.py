"""The files API: files and folders of volumes, on the disk of this host; and the addresses that are signed in advance.

Large uploads go in parts to such an address. A real one is a cloud's; here it is another path of this server.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from dataclasses import dataclass, field

from support.databricks_server.messages import Answer, page
from support.databricks_server.refusals import Refusal, invalid, missing

_MODIFIED = {"Last-Modified": "Tue, 24 Nov 2026 00:00:00 GMT"}
_LIFE_S = 15 * 60
_EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
_MAX_ONE_PUT = 5 * 2**30
_FILES, _FOLDERS = "/api/2.0/fs/files{file_path}", "/api/2.0/fs/directories{directory_path}"


@dataclass
class Upload:
    """An upload in parts. parts: number -> (tag, content)."""

    path: str
    overwrite: bool
    parts: dict = field(default_factory=dict)


class Volumes:
    """signed: the tail of an address -> (when it expires, what it does with a request). blocked: all are refused."""

    def __init__(self, unity, clock):
        self._unity, self._clock = unity, clock
        self._uploads, self.signed = {}, {}
        self._numbers = itertools.count(1)
        self.blocked = False  # as behind a firewall of the storage account

    def routes(self):
        return {
            f"PUT {_FILES}": self._put,
            f"GET {_FILES}": lambda request: self._content(self._file(request, "READ_VOLUME"), request),
            f"HEAD {_FILES}": self._head,
            f"DELETE {_FILES}": self._delete,
            f"POST {_FILES}": self._upload_in_parts,
            f"PUT {_FOLDERS}": self._make_folder,
            f"HEAD {_FOLDERS}": self._head_folder,
            f"GET {_FOLDERS}": self._list,
            f"DELETE {_FOLDERS}": self._delete_folder,
            "POST /api/2.0/fs/create-upload-part-urls": self._part_urls,
            "POST /api/2.0/fs/create-abort-upload-url": self._abort_url,
            "POST /api/2.0/fs/create-download-url": self._download_url,
        }

    def on_disk(self, path):
        """The file or folder of this host behind a path of a volume. Raises Refusal if there is no such volume."""
        parts = path.strip("/").split("/")
        if len(parts) < 4 or parts[0] != "Volumes" or ".." in parts:
            raise invalid(f"Invalid path: {path} is not below /Volumes/catalog/schema/volume.")
        self._unity.find("VOLUME", ".".join(parts[1:4]))
        return self._unity.folder.joinpath(*parts[1:])

    def _allowed(self, request, path, privilege):
        disk = self.on_disk(path)
        self._unity.require(request.user, privilege, ".".join(path.strip("/").split("/")[1:4]))
        return disk

    def _file(self, request, privilege):
        path = request.parts["file_path"]
        disk = self._allowed(request, path, privilege)
        if not disk.is_file():
            raise missing(f"The file {path} does not exist.", "NOT_FOUND")
        return disk

    def _place(self, request, path, *, overwrite):
        disk = self._allowed(request, path, "WRITE_VOLUME")
        if disk.is_dir():
            raise invalid(f"The path {path} is a directory.")
        if disk.exists() and not overwrite:
            raise Refusal(409, "ALREADY_EXISTS", f"The file being created already exists: {path}")
        if not disk.parent.is_dir():
            raise missing(f"The parent directory of {path} does not exist.", "NOT_FOUND")
        return disk

    def _put(self, request):
        disk = self._place(request, request.parts["file_path"], overwrite=request.option("overwrite") == "true")
        if len(request.raw) > _MAX_ONE_PUT:
            raise Refusal(413, "IO_ERROR", "The file is larger than 5 GiB.")
        disk.write_bytes(request.raw)

    def _content(self, disk, request):
        content = disk.read_bytes()
        headers = _MODIFIED | {"Accept-Ranges": "bytes", "ETag": _tag(content)}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "")):
            start, end = int(match[1]), int(match[2] or len(content) - 1)
            headers |= {"Content-Range": f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"}
            return Answer(content[start : end + 1], 206, headers)
        return Answer(content, 200, headers)

    def _head(self, request):
        size = self._file(request, "READ_VOLUME").stat().st_size
        return Answer(headers=_MODIFIED | {"Content-Length": str(size), "Content-Type": "application/octet-stream"})

    def _delete(self, request):
        self._file(request, "WRITE_VOLUME").unlink()

    def _folder(self, request, privilege):
        path = request.parts["directory_path"].rstrip("/")
        disk = self._allowed(request, path, privilege)
        if not disk.is_dir():
            raise missing(f"The directory {path} does not exist.", "NOT_FOUND")
        return path, disk

    def _make_folder(self, request):
        path = request.parts["directory_path"].rstrip("/")
        disk = self._allowed(request, path, "WRITE_VOLUME")
        if disk.is_file():
            raise Refusal(409, "ALREADY_EXISTS", f"The path {path} is a file.")
        disk.mkdir(parents=True, exist_ok=True)

    def _head_folder(self, request):
        self._folder(request, "READ_VOLUME")
        return Answer()

    def _delete_folder(self, request):
        path, disk = self._folder(request, "WRITE_VOLUME")
        if any(disk.iterdir()):
            raise invalid(f"The directory {path} is not empty.")
        shutil.rmtree(disk)

    def _list(self, request):
        path, disk = self._folder(request, "READ_VOLUME")
        entries = [_entry(path, each) for each in sorted(disk.iterdir())]
        size = min(int(request.option("page_size") or 1000), 1000)
        items, token = page(entries, token=request.option("page_token"), size=size)
        return {"contents": items} | ({"next_page_token": token} if token else {})

    def _upload_in_parts(self, request):
        path, action = request.parts["file_path"], request.option("action")
        if action == "initiate-upload":
            overwrite = request.option("overwrite") == "true"
            self._place(request, path, overwrite=overwrite)
            token = f"session-{next(self._numbers)}"
            self._uploads[token] = Upload(path, overwrite)
            return {"multipart_upload": {"session_token": token}}
        upload = self._upload(request.option("session_token"), path)
        if action == "complete-upload":
            return self._complete(request, upload)
        raise invalid(f"Unknown action {action!r}.")

    def _upload(self, token, path):
        upload = self._uploads.get(token)
        if upload is None or upload.path != path:
            raise missing("The upload session does not exist.", "NOT_FOUND")
        return upload

    def _complete(self, request, upload):
        named = [(part["part_number"], part["etag"]) for part in request.body["parts"]]
        if named != [(number, upload.parts[number][0]) for number in sorted(upload.parts)]:
            raise invalid("The parts are not those that were uploaded.")
        disk = self._place(request, upload.path, overwrite=upload.overwrite)
        disk.write_bytes(b"".join(upload.parts[number][1] for number in sorted(upload.parts)))
        del self._uploads[request.option("session_token")]
        return {}

    def _sign(self, request, what):
        tail = f"signed-{next(self._numbers)}"
        self.signed[tail] = (self._clock.time() + _LIFE_S, what)
        return f"{request.base}/presigned/{tail}"

    def presigned(self, request):
        """Answer a request to a signed address: it has no token, as the address is the proof."""
        expires, what = self.signed.get(request.path.rpartition("/")[2], (0, None))
        if what is None or self.blocked:
            return Answer(b"<Error><Code>AuthorizationFailure</Code></Error>", 403)
        if self._clock.time() > expires:
            return Answer(_EXPIRED, 403)
        return what(request)

    def _part_urls(self, request):
        upload = self._upload(request.body["session_token"], request.body["path"])
        first = request.body["start_part_number"]
        numbers = range(first, first + request.body["count"])
        urls = [self._sign(request, lambda part, number=number: _store(upload, number, part)) for number in numbers]
        shown = [{"part_number": n, "url": url, "headers": []} for n, url in zip(numbers, urls, strict=True)]
        return {"upload_part_urls": shown}

    def _abort_url(self, request):
        token = request.body["session_token"]
        self._upload(token, request.body["path"])
        return {"abort_upload_url": {"url": self._sign(request, lambda _: self._abort(token)), "headers": []}}

    def _abort(self, token):
        self._uploads.pop(token, None)
        return Answer(status=204)

    def _download_url(self, request):
        path = request.option("path")
        disk = self._allowed(request, path, "READ_VOLUME")
        if not disk.is_file():
            raise missing(f"The file {path} does not exist.", "NOT_FOUND")
        return {"url": self._sign(request, lambda part: self._content(disk, part)), "headers": []}


def _entry(path, disk):
    entry = {"path": f"{path}/{disk.name}", "name": disk.name, "is_directory": disk.is_dir()}
    return entry if disk.is_dir() else entry | {"file_size": disk.stat().st_size}


def _tag(content):
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _store(upload, number, part):
    upload.parts[number] = (_tag(part.raw), part.raw)
    return Answer(headers={"ETag": upload.parts[number][0]})
