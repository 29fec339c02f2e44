"""Volumes and DBFS from outside of a cluster, by databricks-sdk. Laptop; on a cluster they are mounted folders.

Host and credentials are the SDK's business: environment, ~/.databrickscfg, a sign-in by browser. Files travel whole,
several side by side; large ones go up in parts, which the SDK does by itself.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from server_utils.errors import EnvironmentMissingError, StorageError
from server_utils.host.redaction import scrub
from server_utils.storage.stores.base import CHUNK, ChangedError, ObjectNotFoundError, TransientError

# What the tools say whose sign-in ended. Without a network they speak of hosts and connections.
_SIGNED_OUT = ("auth login", "az login", "gcloud auth", "reauthenticate", "refresh token", "expired", "invalid_grant")
_SETTINGS = re.compile(r"\.? Config: host=.*", re.DOTALL)


class Volume:
    """A folder of a volume as a store. Its methods are described in `base.Store`.

    client: of the workspace; None for the one that the environment names.
    """

    ranged = False

    def __init__(self, path: str, url: str, client: Any = None) -> None:
        self.url, self._path, self._files = url, path, (client or workspace(url)).files
        self._made = set[str]()

    def read(self, key: str) -> tuple[bytes, str]:
        return _read(self, key)

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        # The files API knows no condition but "must not exist": between this look and the write somebody may write.
        if replaces is not None and self.read(key)[1] != replaces:
            raise ChangedError(key)
        self._make_parent(key)
        with translated(self.url):
            self._files.upload(f"{self._path}/{key}", io.BytesIO(content), overwrite=replaces is not None)

    def probe(self) -> None:
        return  # there is one protocol, and it has all

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:  # noqa: ARG002 - whole
        with translated(self.url):
            body = self._files.download(f"{self._path}/{key}").contents
        _copy(body, write, self.url)

    def upload(self, key: str, source: Path) -> None:
        self._make_parent(key)
        with translated(self.url):
            self._files.upload_from(f"{self._path}/{key}", str(source), overwrite=True)

    def _make_parent(self, key: str) -> None:
        parent = f"{self._path}/{key}".rpartition("/")[0]
        if parent not in self._made:
            with translated(self.url):
                self._files.create_directory(parent)
            self._made.add(parent)

    def parts(self, key: str, count: int) -> None:  # noqa: ARG002 - the SDK splits by itself
        return None

    def names(self) -> Iterator[tuple[str, int]]:
        try:
            yield from self._below(self._path)
        except ObjectNotFoundError:
            return  # nothing was ever written here

    def folders(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self._listed(self._path) if entry.is_directory)
        except ObjectNotFoundError:
            return []

    def delete(self, prefix: str) -> None:
        try:
            self._remove(f"{self._path}/{prefix}")
        except ObjectNotFoundError:
            return
        except ChangedError as error:  # something was written into it meanwhile, such as a last log
            raise TransientError(error) from None

    def _listed(self, path: str) -> list[Any]:
        with translated(self.url):
            return list(self._files.list_directory_contents(path))

    def _below(self, path: str) -> Iterator[tuple[str, int]]:
        for entry in self._listed(path):
            if entry.is_directory:
                yield from self._below(entry.path)
            else:
                yield entry.path.removeprefix(f"{self._path}/"), entry.file_size

    def _remove(self, path: str) -> None:
        for entry in self._listed(path):
            with suppress(ObjectNotFoundError):  # somebody else deleted it meanwhile; the others are still there
                self._remove(entry.path) if entry.is_directory else self._delete_file(entry.path)
        with translated(self.url):
            self._files.delete_directory(path)

    def _delete_file(self, path: str) -> None:
        with translated(self.url):
            self._files.delete(path)


class Dbfs:
    """A folder of DBFS as a store. Its methods are described in `base.Store`."""

    ranged = False

    def __init__(self, path: str, url: str) -> None:
        self.url, self._path, self._dbfs = url, path, workspace(url).dbfs

    def read(self, key: str) -> tuple[bytes, str]:
        return _read(self, key)

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        if replaces is not None and self.read(key)[1] != replaces:
            raise ChangedError(key)
        with translated(self.url):
            self._dbfs.upload(f"{self._path}/{key}", io.BytesIO(content), overwrite=replaces is not None)

    def probe(self) -> None:
        return  # there is one protocol, and it has all

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:  # noqa: ARG002 - whole
        with translated(self.url):
            body = self._dbfs.download(f"{self._path}/{key}")
        _copy(body, write, self.url)

    def upload(self, key: str, source: Path) -> None:
        with translated(self.url), source.open("rb") as file:
            self._dbfs.upload(f"{self._path}/{key}", file, overwrite=True)

    def parts(self, key: str, count: int) -> None:  # noqa: ARG002 - DBFS takes a stream
        return None

    def names(self) -> Iterator[tuple[str, int]]:
        try:
            with translated(self.url):
                entries = list(self._dbfs.list(self._path, recursive=True))
        except ObjectNotFoundError:
            return  # nothing was ever written here
        for entry in entries:
            if not entry.is_dir:
                yield entry.path.removeprefix(f"{self._path}/"), entry.file_size

    def folders(self) -> list[str]:
        try:
            with translated(self.url):
                listed = list(self._dbfs.list(self._path))
        except ObjectNotFoundError:
            return []
        return sorted(entry.path.rpartition("/")[2] for entry in listed if entry.is_dir)

    def delete(self, prefix: str) -> None:
        with translated(self.url):
            self._dbfs.delete(f"{self._path}/{prefix}", recursive=True)


def _read(store: Volume | Dbfs, key: str) -> tuple[bytes, str]:
    content = io.BytesIO()
    store.fetch(key, 0, 0, content.write)
    return content.getvalue(), hashlib.sha256(content.getvalue()).hexdigest()


def _copy(body: Any, write: Callable[[bytes], object], url: str) -> None:
    """Hand a stream on, and close it. Errors of `write` are the caller's: its own disk may be full."""
    try:
        while True:
            with translated(url):
                chunk = body.read(CHUNK)
            if not chunk:
                return
            write(chunk)
    finally:
        body.close()


def workspace(url: str) -> Any:
    """A client of the workspace that the environment names. url: what it is wanted for, for messages.

    Raises:
        EnvironmentMissingError: databricks-sdk is not installed.
        StorageError: there is no way to sign in.
    """
    try:
        from databricks.sdk import WorkspaceClient
    except ImportError as error:
        raise EnvironmentMissingError(
            f"{url} is not mounted here, and its API needs databricks-sdk: pip install 'spark-sidecar[databricks]'"
        ) from error
    with translated(url):
        return WorkspaceClient()


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The SDK's errors as ours. Never `from` theirs: they hold presigned addresses."""
    from databricks.sdk.errors import base
    from databricks.sdk.errors import platform as sdk
    from requests import RequestException

    try:
        yield
    except sdk.NotFound as error:
        raise ObjectNotFoundError(text_of(error)) from None
    except (
        sdk.Aborted,  # before ResourceConflict, which it is one of
        sdk.DeadlineExceeded,
        sdk.InternalError,
        sdk.TemporarilyUnavailable,
        sdk.TooManyRequests,
        TimeoutError,
        ConnectionError,
        RequestException,
    ) as error:
        raise TransientError(text_of(error)) from None
    except sdk.ResourceConflict as error:
        raise ChangedError(text_of(error)) from None
    except (base.DatabricksError, ValueError) as error:  # ValueError: no way to sign in
        raise StorageError(
            f"{url} is refused: {text_of(error)}; check DATABRICKS_HOST and the credentials, or sign in with "
            "`databricks auth login`"
        ) from None
    except OSError as error:  # after DatabricksError, which is one too
        if error.errno is not None:
            raise  # this machine's: its disk, its files
        raise no_token(url, error) from None


def text_of(error: BaseException) -> str:
    """What the SDK says, without secrets and without its own settings, which it adds to refusals."""
    return _SETTINGS.sub("", scrub(error))


def no_token(what: str, error: OSError) -> Exception:
    """Why the SDK got no token from a tool such as Databricks' own: the sign-in ended, or the network is away.

    what: could not be done, for the message.
    """
    message = " ".join(text_of(error).split())
    if not any(each in message.lower() for each in _SIGNED_OUT):
        return TransientError(message)
    return StorageError(f"{what}: the sign-in has ended: {message}. Sign in again with `databricks auth login`")
