"""Addresses of models: what a URL means, and what is refused. Driver and executors; opens nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server_utils.errors import ConfigurationError

MANIFEST: Final = "manifest.json"  # what makes a folder a model

# Spark's and Hadoop's names for S3 mean the same buckets.
_BUCKETS = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gs"}
_KNOWN = "s3://bucket/name, gs://bucket/name, /Volumes/catalog/schema/volume/name, dbfs:/name, file:///name or a path"
_VOLUME_PARTS = 4  # "Volumes", the catalog, the schema, the volume


@dataclass(frozen=True)
class Address:
    """Where a model is.

    Attributes:
        kind: s3, gs, volume, dbfs, file or hf.
        bucket: of s3 and gs; the revision of hf, "" for the default; else "".
        path: the key prefix of s3 and gs, org/name of hf, else an absolute path; no slash at its end.
    """

    kind: str
    bucket: str
    path: str

    def __str__(self) -> str:
        if self.kind in _BUCKETS:
            return f"{self.kind}://{self.bucket}/{self.path}"
        if self.kind == "hf":
            return f"hf://{self.path}{'@' if self.bucket else ''}{self.bucket}"
        return f"dbfs:{self.path}" if self.kind == "dbfs" else self.path


def parse(url: str | Path) -> Address:
    """The address that a URL or a path means. Raises ConfigurationError for one that cannot hold a model."""
    text = str(url)
    scheme, rest = _split(text)
    if scheme in _BUCKETS:
        bucket, _, path = rest.removeprefix("//").partition("/")
        return Address(_BUCKETS[scheme], _bucket(bucket, scheme), _clean(path, text))
    if scheme == "hf":
        path, _, revision = rest.removeprefix("//").partition("@")
        return Address("hf", revision, _clean(path, text))
    if scheme == "dbfs":
        path = "/" + _clean(rest, text)
        return _volume(path, text) if path.startswith("/Volumes/") else Address("dbfs", "", path)
    if scheme == "file":
        if not rest.startswith("///") and rest.startswith("//"):
            raise ConfigurationError(f"{text!r} names a host; a file URL has three slashes: file:///folder/name")
        return Address("file", "", "/" + _clean(rest, text))
    if scheme:
        raise ConfigurationError(f"no model can be at a URL that starts with {scheme}:; known are {_KNOWN}")
    return _path(text)


def is_elsewhere(text: str | Path) -> bool:
    """Whether it is to be fetched onto a node first: a URL, a mount of a bucket, or a folder that was saved to."""
    scheme, _ = _split(str(text))
    return bool(scheme) or str(text).startswith(("/Volumes/", "/dbfs/")) or (Path(text) / MANIFEST).is_file()


def join(root: str, name: str) -> str:
    """The URL of a name below a root. Raises ConfigurationError for a name that leads elsewhere."""
    return f"{root.rstrip('/')}/{_clean(name, name)}"


def _split(text: str) -> tuple[str, str]:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(?=/)(.*)", text, re.DOTALL)
    return (found[1].lower(), found[2]) if found else ("", text)


def _path(text: str) -> Address:
    if not text.strip():
        raise ConfigurationError(f"the address of a model is empty; it can be {_KNOWN}")
    if text.startswith("/Volumes/"):
        return _volume("/" + _clean(text, text), text)
    if text.startswith("/dbfs/"):
        return Address("dbfs", "", "/" + _clean(text.removeprefix("/dbfs/"), text))
    # A path of this machine may go up: `..` is the user's own word here, as in any shell.
    return Address("file", "", str(Path(text).expanduser().resolve()))


def _volume(path: str, text: str) -> Address:
    if len(path.strip("/").split("/")) < _VOLUME_PARTS:
        raise ConfigurationError(f"{text!r} is no volume; it is /Volumes/catalog/schema/volume, and a name below it")
    return Address("volume", "", path)


def _bucket(bucket: str, scheme: str) -> str:
    """The name of a bucket. What is refused is not quoted: it may hold a password."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket):
        raise ConfigurationError(
            f"what follows {scheme}:// is no name of a bucket: letters, digits, dots and dashes. Keys and passwords "
            "belong into the credentials of the cloud's own tools, never into a URL"
        )
    return bucket


def _clean(path: str, text: str) -> str:
    parts = [part for part in path.split("/") if part]
    if not parts or any(part in (".", "..") or not part.isprintable() for part in parts):
        raise ConfigurationError(f"{text!r} names no model: its path must have a name, and no part that is '.' or '..'")
    return "/".join(parts)
