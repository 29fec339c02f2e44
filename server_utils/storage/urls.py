"""Addresses of models: what a URL or a path means, and what is refused. Driver and executors; opens nothing.

Every character of a path and of a key is itself: no pattern, no escape. The one exception is a file URL, in which `%20`
is a space, as `Path.as_uri()` writes it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from server_utils.errors import ConfigurationError

MANIFEST: Final = "manifest.json"  # what makes a folder a model

# Spark's and Hadoop's names for S3 mean the same buckets.
_BUCKETS = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gs"}
_KNOWN = "s3://bucket/name, gs://bucket/name, /Volumes/catalog/schema/volume/name, dbfs:/name, file:///name or a path"
_VOLUME_PARTS = 4  # "Volumes", the catalog, the schema, the volume
_ARN = r"arn:aws[a-z-]*:"
_ACCESS_POINT = re.compile(
    rf"{_ARN}(?:s3:[a-z0-9-]*:\d{{12}}:|s3-outposts:[a-z0-9-]+:\d{{12}}:outpost[/:][A-Za-z0-9-]+[/:])"
    r"accesspoint[/:][A-Za-z0-9.-]{1,63}(?=/|$)"
)
_BUCKET_ARN = re.compile(rf"{_ARN}s3:::(?=[^/])")


@dataclass(frozen=True)
class Address:
    """Where a model is.

    Attributes:
        kind: s3, gs, volume, dbfs, file or hf.
        bucket: of s3 and gs; the revision of hf, "" for the default; else "".
        path: the key prefix of s3 and gs; org/name of hf, of a data set below datasets/; else an absolute path.
            No slash at its end.
        files: of a data set of hf, a pattern of the files that are wanted; "" for all.
    """

    kind: str
    bucket: str
    path: str
    files: str = ""

    def __str__(self) -> str:
        if self.kind in _BUCKETS:
            return f"{self.kind}://{self.bucket}/{self.path}"
        if self.kind == "hf":
            return f"hf://{self.path}{'@' if self.bucket else ''}{self.bucket}{'/' if self.files else ''}{self.files}"
        return f"dbfs:{self.path}" if self.kind == "dbfs" else self.path


def parse(url: str | Path) -> Address:
    """The address that a URL or a path means. Raises ConfigurationError for one that cannot hold a model."""
    text = text_of(url)
    scheme, rest = _split(text)
    if scheme in _BUCKETS:
        bucket, path = _bucket(_after_slashes(rest), scheme)
        return Address(_BUCKETS[scheme], bucket, _clean(path, text))
    if scheme == "hf":
        return _hub(_after_slashes(rest), text)
    if scheme == "dbfs":
        path = "/" + _clean(rest, text)
        return _volume(path, text) if path.startswith("/Volumes/") else Address("dbfs", "", path)
    if scheme == "file":
        return Address("file", "", _file(rest, text))
    if scheme:
        raise ConfigurationError(f"no model can be at a URL that starts with {scheme}:; known are {_KNOWN}")
    return _path(text)


def text_of(url: str | Path) -> str:
    """A URL or a path as text. Raises ConfigurationError for what is neither, for none, and for a path of Windows."""
    if not isinstance(url, str | os.PathLike):
        raise ConfigurationError(f"the address of a model is a text or a pathlib.Path; it is {url!r}")
    text = os.fspath(url)
    if not text.strip():
        raise ConfigurationError(f"the address of a model is empty; it can be {_KNOWN}")
    if "\0" in text:
        raise ConfigurationError(f"{text!r} holds a zero byte, which no path can have")
    if re.match(r"[A-Za-z]:[\\/]|\\\\|file:/+[A-Za-z]:/", text):
        raise ConfigurationError(f"{text!r} is a path of Windows; give the one that Linux knows, such as /mnt/c/models")
    if re.match(r"(s3[an]?|gs|hf|dbfs|file|https?):(?!/)", text, re.IGNORECASE) and not os.path.lexists(text):
        raise ConfigurationError(f"{text!r} lacks the slashes of a URL; known are {_KNOWN}")
    return text


def in_place(url: str | Path) -> str | None:
    """The path of what is used where it is; None for what must be fetched onto a node first.

    To be fetched are URLs, mounts of a bucket and folders that were saved to. A file URL is used in place where it
    leads to something that was not saved by us.
    """
    text = text_of(url)
    scheme, rest = _split(text)
    if scheme == "file":
        path = _file(rest, text)
        return path if _is_there(path) and not _is_saved(path) else None
    if scheme or text.startswith(("/Volumes/", "/dbfs/")) or _is_saved(path := expanded(text)):
        return None
    return path


def is_elsewhere(url: str | Path) -> bool:
    """Whether it is to be fetched onto a node first."""
    return in_place(url) is None


def from_driver(url: str | Path) -> str:
    """An address as other hosts understand it: the driver's home and folder are written out.

    What is not there on the driver and does not say that it begins there (by ~, ./ or ../) stays as it is: the name of
    a model on a hub, or a path of the nodes. Raises ConfigurationError as `parse` does.
    """
    text = text_of(url)
    if _split(text)[0] or text.startswith(("/Volumes/", "/dbfs/")):
        parse(text)
        return text
    path = expanded(text)
    begins_here = re.match(r"\.{1,2}(/|$)", path) or _is_there(path)
    return str(Path(path).absolute()) if begins_here else path


def absolute(root: str) -> str:
    """A root without ~ and without a relative path: every process of this host understands it."""
    return root if _split(root)[0] else str(Path(expanded(root)).absolute())


def on_this_machine(url: str | Path) -> Path:
    """The path of what is to be saved. Raises ConfigurationError for a URL that leads to no path here."""
    text = text_of(url)
    address = parse(text) if _split(text)[0] else None
    if address is None:
        return Path(expanded(text))
    if address.kind in ("file", "volume"):
        return Path(address.path)
    if address.kind == "dbfs" and Path("/dbfs").is_dir():
        return Path("/dbfs" + address.path)
    raise ConfigurationError(
        f"what is saved comes from this machine, and {text!r} is elsewhere; fetch it first: local_model({text!r})"
    )


def join(root: str, name: str) -> str:
    """The URL of a name below a root. Raises ConfigurationError for a name that leads elsewhere."""
    return f"{root.rstrip('/')}/{_clean(name, name)}"


def join_model(root: str, name: str) -> str:
    """As `join`, so that `parse` finds each character of the name in it."""
    return join(root, quote(name) if _split(root)[0] == "file" else name)


def expanded(path: str) -> str:
    """A path with the home of this user, or of another one, in place of its ~ at the beginning."""
    written_out = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser() ends in an error for the name ~x of a folder
    if written_out == path and re.match(r"~(/|$)", path):
        raise ConfigurationError(f"{path!r} begins with the home folder and this user has none; set HOME, or write it")
    return written_out


def _split(text: str) -> tuple[str, str]:
    """The scheme in small letters, "" for none, and what follows its colon."""
    if re.match(rf"{_ARN}s3", text):
        return "s3", f"//{text}"
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(?=/)(.*)", text, re.DOTALL)
    return (match[1].lower(), match[2]) if match else ("", text)


def _after_slashes(rest: str) -> str:
    """What follows the slashes of a URL; `pathlib` leaves one of the two."""
    return rest[2:] if rest.startswith("//") else rest[1:]


def _is_there(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False for a name that is too long, and behind a closed door


def _is_saved(path: str) -> bool:
    return os.path.isfile(os.path.join(path, MANIFEST))  # noqa: PTH113, PTH118 - as above


def _path(text: str) -> Address:
    if text.startswith("/Volumes/"):
        return _volume("/" + _clean(text, text), text)
    if text.startswith("/dbfs/"):
        return Address("dbfs", "", "/" + _clean(text.removeprefix("/dbfs/"), text))
    # A path of this machine may go up: `..` is the user's own word here, as in any shell.
    return Address("file", "", str(Path(expanded(text)).resolve()))


def _file(rest: str, text: str) -> str:
    """The path of a file URL. Raises ConfigurationError for one of another host."""
    host, slash, path = rest.removeprefix("//").partition("/") if rest.startswith("//") else ("", "/", rest)
    if host.lower() not in ("", "localhost"):
        raise ConfigurationError(f"{text!r} names a host; a file URL has three slashes: file:///folder/name")
    return "/" + "/".join(_parts(unquote(slash + path, errors="surrogateescape"), text))


def _hub(rest: str, text: str) -> Address:
    """A model, whose revision may hold slashes; or a data set, where a slash after the revision begins its files."""
    path, _, revision = rest.partition("@")
    revision, _, files = revision.partition("/") if path.startswith("datasets/") else (revision, "", "")
    return Address("hf", revision, _clean(path, text), files)


def _volume(path: str, text: str) -> Address:
    if len(path.strip("/").split("/")) < _VOLUME_PARTS:
        raise ConfigurationError(f"{text!r} is no volume; it is /Volumes/catalog/schema/volume, and a name below it")
    return Address("volume", "", path)


def _bucket(rest: str, scheme: str) -> tuple[str, str]:
    """The bucket, or the access point, and the key. What is refused is not quoted: it may hold a password."""
    if scheme != "gs" and (match := _ACCESS_POINT.match(rest)):
        return match[0], rest[match.end() :]
    bucket, _, path = (_BUCKET_ARN.sub("", rest) if scheme != "gs" else rest).partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket):
        raise ConfigurationError(
            f"what follows {scheme}:// is no name of a bucket: letters, digits, dots and dashes, or the ARN of an "
            "access point. Keys and passwords belong into the credentials of the cloud's own tools, never into a URL"
        )
    return bucket, path


def _clean(path: str, text: str) -> str:
    parts = _parts(path, text)
    if not all(part.isprintable() for part in parts):
        raise _no_model(text)
    return "/".join(parts)


def _parts(path: str, text: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if not parts or any(part in (".", "..") or "\0" in part for part in parts):
        raise _no_model(text)
    return parts


def _no_model(text: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r} names no model: its path must have a name, and no part that is '.' or '..'")
