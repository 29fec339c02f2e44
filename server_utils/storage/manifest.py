"""The list of a model's files with their sizes and hashes: uploaded last, it makes a folder a model.

Driver and executors. What is read from a store is not trusted: every name is checked before it becomes a path.

Each part has two hashes: SHA-256, which names the content and which `verify` compares, and CRC32C, by which a download
is checked: it misses one of four billion damaged parts, and on a node hashing competes with the transfer for the
cores. On one core SHA-256 ran at 1.8 GB/s and CRC32C at 27.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

from server_utils.errors import ModelCorruptError

PART = 16 << 20
_FORMAT = 1
_SHA256, _CRC32C = re.compile(r"[0-9a-f]{64}"), re.compile(r"([0-9a-f]{8})?")
_NAME_BYTES, _PATH_BYTES = 255, 3_000  # Linux: 255 and 4096, of which the cache's own folder needs some


@dataclass(frozen=True)
class Part:
    """A part of a file: its place in bytes, and what it must hash to. crc32c: "" where it was not computed."""

    start: int
    size: int
    sha256: str
    crc32c: str = ""

    @property
    def end(self) -> int:
        """Where the next part starts."""
        return self.start + self.size

    def check(self, *, thorough: bool) -> tuple[Hash, bytes]:
        """A hash for its bytes, and the digest that must come out. thorough: by SHA-256, whatever it takes."""
        if self.crc32c and not thorough and has_crc32c():
            return crc32c(), bytes.fromhex(self.crc32c)
        return hashlib.sha256(), bytes.fromhex(self.sha256)


@dataclass(frozen=True)
class Entry:
    """A file. name: relative, with slashes. sha256, crc32c: of each part: a part is checked by itself.

    crc32c holds "" for each part where it was saved without.
    """

    name: str
    size: int
    sha256: tuple[str, ...]
    crc32c: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A model's files. folder: where they are, beside the manifest. saved: when, UTC. part_size: in bytes."""

    folder: str
    saved: str
    part_size: int
    files: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """Names the content: equal for equal files (in equal parts), wherever and whenever they were saved."""
        return digest(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def parts(self, entry: Entry) -> list[Part]:
        """The parts of a file, in order; none for an empty one."""
        step = self.part_size
        return [
            Part(number * step, min(step, entry.size - number * step), *hashes)
            for number, hashes in enumerate(zip(entry.sha256, entry.crc32c, strict=True))
        ]

    def key(self, entry: Entry) -> str:
        """Where a file is in the store."""
        return f"{self.folder}/{entry.name}"

    def to_json(self) -> bytes:
        """As it is stored; the files one a line."""
        head = {"folder": self.folder, "format": _FORMAT, "part_size": self.part_size, "saved": self.saved}
        lines = ",\n".join(json.dumps(asdict(entry), sort_keys=True) for entry in self.files)
        return f'{json.dumps(head)[:-1]}, "files": [\n{lines}\n]}}\n'.encode()


def read(content: bytes, url: str) -> Manifest:
    """Check and read a manifest. url: the model's, for the error.

    Raises ModelCorruptError when it is no manifest, or would lead out of its folder.
    """
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise ModelCorruptError(
                f"{url} was saved by a later version (format {document['format']!r}): install that one"
            )
        files = tuple(_entry(**each) for each in document["files"])
        manifest = Manifest(str(document["folder"]), str(document["saved"]), int(document["part_size"]), files)
        wrong = _wrong(manifest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelCorruptError(
            f"the manifest of {url} cannot be read ({type(error).__name__}); save it again"
        ) from error
    if wrong:
        raise ModelCorruptError(f"the manifest of {url} is refused: {wrong}; save the model again")
    return manifest


def _entry(*, name: Any, size: Any, sha256: Any, crc32c: Any) -> Entry:
    return Entry(name, size, tuple(sha256), tuple(crc32c))


def digest(files: Iterable[Entry]) -> str:
    """A name for a list of files with their contents: 32 hexadecimal digits."""
    lines = sorted(f"{' '.join(entry.sha256)} {entry.size} {entry.name}\0" for entry in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def bad_name(name: Any) -> str:
    """What is wrong with the name of a file; "" if nothing is."""
    if not isinstance(name, str) or not name or "\0" in name:
        return f"{name!r} is no name"
    try:
        parts = name.encode().split(b"/")
    except UnicodeEncodeError:
        return f"the name {name!r} is not UTF-8"
    if any(part in (b"", b".", b"..") for part in parts):
        return f"the name {name!r} could lead out of the folder"
    if max(map(len, parts)) > _NAME_BYTES or len(name.encode()) > _PATH_BYTES:
        return f"the name {name[:40]!r}… is too long for a file system"
    return ""


def _wrong(manifest: Manifest) -> str:
    if not re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]{8}", manifest.folder):
        return f"{manifest.folder!r} is no folder of ours"
    if manifest.part_size < 1 or not manifest.files:
        return "it has no files"
    return next(filter(None, (_wrong_entry(manifest, entry) for entry in manifest.files)), "") or _clash(manifest)


def _wrong_entry(manifest: Manifest, entry: Entry) -> str:
    if wrong := bad_name(entry.name):
        return wrong
    if not isinstance(entry.size, int) or entry.size < 0:
        return f"{entry.name!r} has no size"
    if {len(entry.sha256), len(entry.crc32c)} != {-(-entry.size // manifest.part_size)}:
        return f"the size of {entry.name!r} and the number of its parts do not fit"
    good = all(map(_SHA256.fullmatch, entry.sha256)) and all(map(_CRC32C.fullmatch, entry.crc32c))
    return "" if good else f"{entry.name!r} has a bad hash"


def _clash(manifest: Manifest) -> str:
    """Two files of one name, or a file that another one has as its folder."""
    names = sorted(f"{entry.name}/" for entry in manifest.files)
    return next(
        (f"{first!r} and {second!r} clash" for first, second in pairwise(names) if second.startswith(first)), ""
    )


class Hash(Protocol):
    """Takes bytes as they pass."""

    def update(self, data: bytes, /) -> None:
        """The next bytes."""

    def digest(self) -> bytes:
        """Of all bytes so far."""


def crc32c() -> Hash:
    """CRC-32C (RFC 3720, appendix B.4), of no bytes yet."""
    import google_crc32c

    kind: type[Hash] = google_crc32c.Checksum  # it has no types
    return kind()


@functools.cache
def has_crc32c() -> bool:
    """Whether the processor's own instruction can be used: google-crc32c without its C part is slower than SHA-256."""
    try:
        import google_crc32c
    except ImportError:
        return False
    return bool(google_crc32c.implementation == "c")


class PartHashes:
    """The two hashes of a part that is sent, made as its bytes pass."""

    def __init__(self) -> None:
        self._sha256, self._crc32c = hashlib.sha256(), crc32c() if has_crc32c() else None

    def update(self, data: bytes) -> None:
        """The next bytes."""
        self._sha256.update(data)
        if self._crc32c:
            self._crc32c.update(data)

    def hexdigests(self) -> tuple[str, str]:
        """SHA-256, and CRC32C or "" where it was too slow to make."""
        return self._sha256.hexdigest(), self._crc32c.digest().hex() if self._crc32c else ""
