"""Google Cloud Storage, by google-cloud-storage. Driver and executors.

Credentials are the client's business: Application Default Credentials, or none with STORAGE_EMULATOR_HOST.
Reads go through the client's own session but not through its download, which hands on 8 KiB at a time (3.17).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server_utils.errors import EnvironmentMissingError, StorageError
from server_utils.host.redaction import scrub
from server_utils.storage.stores.base import CHUNK, ChangedError, ObjectNotFoundError, TransientError, seconds

_TIMEOUT_S = (10, 60)  # to connect, and between two bytes
_WHOLE = 16  # parts that are not worth a composition: files are sent side by side anyway
_COMPOSED = 32  # sources that one request may compose
_BAD_REQUEST, _NOT_FOUND, _CHANGED, _TOO_MANY, _SERVER_ERRORS, _NOT_IMPLEMENTED = 400, 404, 412, 429, 500, 501


class Gcs:
    """A prefix of a bucket as a store. Its methods are described in `base.Store`."""

    ranged = True

    def __init__(self, bucket: str, prefix: str, *, connections: int) -> None:
        try:
            from google.cloud import storage
            from requests.adapters import HTTPAdapter
        except ImportError as error:
            raise EnvironmentMissingError(
                "gs:// needs google-cloud-storage: pip install 'spark-sidecar[gcs]'"
            ) from error
        self.url, self._prefix = f"gs://{bucket}/{prefix}", f"{prefix}/" if prefix else ""
        with self._translated():
            self._client = storage.Client(project="none")  # of buckets that exist the project is never asked
        self._bucket = self._client.bucket(bucket)
        self._session = self._client._http  # noqa: SLF001 - as the client's own guide says, for more connections
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=2, pool_maxsize=connections))
        self._media = f"{self._client.api_endpoint}/download/storage/v1/b/{quote(bucket, safe='')}/o"

    def read(self, key: str) -> tuple[bytes, str]:
        with self._get(key, {}) as answer:
            return answer.content, answer.headers.get("x-goog-generation", "")

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        generation = int(replaces) if replaces else None if replaces == "" else 0
        with self._translated():
            self._blob(key).upload_from_string(
                content, checksum="crc32c", if_generation_match=generation, retry=None, timeout=_TIMEOUT_S
            )

    def probe(self) -> None:
        return  # there is one protocol, and it has all

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:
        with self._get(key, {"Range": f"bytes={start}-{start + size - 1}"}) as answer:
            while chunk := answer.raw.read(CHUNK):
                write(chunk)

    def upload(self, key: str, source: Path) -> None:
        with self._translated():  # whole, as the client does it: chunks of 8 MiB took five times as long
            self._blob(key).upload_from_filename(str(source), checksum="crc32c", retry=None, timeout=_TIMEOUT_S)

    def parts(self, key: str, count: int) -> _Parts | None:
        return _Parts(self, key) if count > _WHOLE else None

    def names(self) -> Iterator[tuple[str, int]]:
        with self._translated():
            for blob in self._listed(self._prefix):
                yield blob.name.removeprefix(self._prefix), blob.size

    def folders(self) -> list[str]:
        with self._translated():
            listed = self._listed(self._prefix, delimiter="/")
            for _ in listed.pages:
                pass  # prefixes are there once all pages were read
            return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in listed.prefixes)

    def delete(self, prefix: str) -> None:
        with self._translated():
            for folder in (prefix, f"{prefix}.parts"):
                self._remove(list(self._listed(f"{self._prefix}{folder}/")))

    def _blob(self, key: str) -> Any:
        return self._bucket.blob(self._prefix + key)

    def _listed(self, prefix: str, **options: Any) -> Any:
        return self._client.list_blobs(self._bucket, prefix=prefix, retry=None, timeout=_TIMEOUT_S, **options)

    def _remove(self, blobs: list[Any]) -> None:
        self._bucket.delete_blobs(blobs, on_error=lambda _: None, retry=None, timeout=_TIMEOUT_S)

    def _compose(self, target: str, sources: list[str]) -> None:
        with self._translated():
            blobs = [self._blob(source) for source in sources]
            self._blob(target).compose(blobs, retry=None, timeout=_TIMEOUT_S)

    @contextmanager
    def _get(self, key: str, headers: dict[str, str]) -> Iterator[Any]:
        url = f"{self._media}/{quote(self._prefix + key, safe='')}"
        headers = {"Accept-Encoding": "identity"} | headers
        with (
            self._translated(),
            self._session.get(url, params={"alt": "media"}, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer,
        ):
            if answer.status_code >= _BAD_REQUEST:
                raise self._meaning(answer.status_code, answer.text[:300], answer.headers)
            yield answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The client's errors as ours. Never `from` theirs: some hold what a log must not."""
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except api.GoogleAPICallError as error:
            headers = error.response.headers if error.response is not None else {}
            raise self._meaning(int(error.code or 0), error.message, headers) from None
        except (RequestException, HTTPError, DataCorruption, ConnectionError, auth.TransportError) as error:
            raise TransientError(scrub(error)) from None
        except auth.GoogleAuthError as error:
            raise StorageError(
                f"no credentials for {self.url}: {scrub(error)}; run `gcloud auth application-default login`, or give "
                "the cluster a service account"
            ) from None

    def _meaning(self, status: int, text: str, headers: Any) -> Exception:
        reason = f"{status} ({scrub(text).strip() or 'no reason given'})"
        if status == _NOT_FOUND:
            return ObjectNotFoundError(reason)
        if status == _CHANGED:
            return ChangedError(reason)
        if (status >= _SERVER_ERRORS and status != _NOT_IMPLEMENTED) or status == _TOO_MANY:
            return TransientError(reason, retry_after_s=seconds(headers.get("Retry-After")))
        return StorageError(f"{self.url} is refused: {reason}; check the credentials and what they allow")


class _Parts:
    """Parts as objects of their own, beside the folder, composed into one at the end."""

    def __init__(self, store: Gcs, key: str) -> None:
        self._store, self._key, self._made = store, key, set[str]()
        folder, _, name = key.partition("/")
        self._beside = f"{folder}.parts/{hashlib.sha256(name.encode()).hexdigest()[:16]}"

    def put(self, number: int, content: bytes) -> None:
        key = f"{self._beside}/{number:06d}"
        with self._store._translated():  # noqa: SLF001 - a part of the same module
            self._store._blob(key).upload_from_file(  # noqa: SLF001 - as above
                io.BytesIO(content), size=len(content), checksum="crc32c", retry=None, timeout=_TIMEOUT_S
            )
        self._made.add(key)

    def finish(self) -> None:
        level = sorted(self._made)
        while len(level) > _COMPOSED:  # compositions of compositions: any number of parts comes together
            groups = [level[at : at + _COMPOSED] for at in range(0, len(level), _COMPOSED)]
            level = [f"{group[0]}+" for group in groups]
            for target, group in zip(level, groups, strict=True):
                self._store._compose(target, group)  # noqa: SLF001 - as above
                self._made.add(target)
        self._store._compose(self._key, level)  # noqa: SLF001 - as above
        self.abort()

    def abort(self) -> None:
        try:
            with self._store._translated():  # noqa: SLF001 - as above
                self._store._remove([self._store._blob(key) for key in self._made])  # noqa: SLF001 - as above
        except (ObjectNotFoundError, TransientError, StorageError):
            pass  # they go when the folder is removed
