"""S3 and what speaks like it, by boto3. Driver and executors.

Credentials, region and endpoint are boto3's business: environment (AWS_ENDPOINT_URL_S3, AWS_REGION, …), profile, role.
Requests are boto3's plain ones and the parallel work is ours: its transfer manager does not notice a multipart
download that was damaged on the way, and its CRT client ignores an endpoint of one's own (boto3 1.44).

What speaks like S3 speaks the old part of it. So a request asks for what is needed only: what is sent has its MD5,
which every place knows and checks, and no newer checksum; one object per DELETE; no condition where there are none.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server_utils.errors import ConfigurationError, EnvironmentMissingError, StorageError
from server_utils.host.redaction import scrub
from server_utils.storage.stores.base import (
    CHUNK,
    ChangedError,
    ObjectNotFoundError,
    TransientError,
    UnsupportedError,
    seconds,
)
from server_utils.storage.transfer import in_parallel

logger = logging.getLogger(__name__)

_CONNECT_S, _READ_S = 10, 60
_BAD_REQUEST, _NOT_IMPLEMENTED, _SERVER_ERRORS, _TOO_MANY = 400, 501, 500, 429
_AGAIN = {"SlowDown", "RequestTimeout", "Throttling", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "307"}
_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_DELETING = 16  # requests at once


class S3:
    """A prefix of a bucket as a store. Its methods are described in `base.Store`."""

    ranged = True

    def __init__(self, bucket: str, prefix: str, *, connections: int) -> None:
        try:
            from botocore.config import Config
        except ImportError as error:
            raise EnvironmentMissingError("s3:// needs boto3: pip install 'spark-sidecar[s3]'") from error
        self.url, self._bucket, self._prefix = f"s3://{bucket}/{prefix}", bucket, f"{prefix}/" if prefix else ""
        config = Config(
            max_pool_connections=connections,
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 1, "mode": "standard"},  # `base.retry` is the one place that retries
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",  # our own hashes say more; theirs skip ranges anyway
        )
        self._has_conditions = True
        with self._translated():
            self._client = _session().create_client("s3", config=config)
        self._host = str(urlsplit(self._client.meta.endpoint_url).hostname)
        if bucket.startswith("arn:") and _is_number(self._host):
            raise ConfigurationError(
                f"{self.url} is an access point, which has a host of its own below the store's, and the store's is set "
                f"to the number {self._host}; unset AWS_ENDPOINT_URL_S3 for Amazon's, or name the bucket"
            )

    def read(self, key: str) -> tuple[bytes, str]:
        with self._translated():
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            return answer["Body"].read(), answer["ETag"]

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        condition = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        if not self._has_conditions:
            self._look_and_write(key, content, replaces)
            return
        try:
            self._put(key, content, **condition)
        except UnsupportedError as error:
            self._has_conditions = False
            logger.warning("%s: of two that save a model at the same moment one may be lost", error)
            self._look_and_write(key, content, replaces)

    def _look_and_write(self, key: str, content: bytes, replaces: str | None) -> None:
        try:
            tag = self.read(key)[1]
        except ObjectNotFoundError:
            tag = None
        if tag != replaces:
            raise ChangedError(key)
        self._put(key, content)

    def probe(self) -> None:
        if self._host.endswith(_AWS):
            return  # has all that is asked for here
        key = f".probe-{uuid.uuid4().hex}"
        self.write(key, b"It may be removed.", replaces=None)
        with suppress(ObjectNotFoundError, TransientError, StorageError):
            self._delete(self._prefix + key)

    def _put(self, key: str, body: Any, **condition: str) -> None:
        target = {"Bucket": self._bucket, "Key": self._prefix + key}
        with self._translated():
            self._client.put_object(**target, Body=body, ContentMD5=_md5(body), **condition)

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:
        wanted = f"bytes={start}-{start + size - 1}"
        with self._translated():
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, Range=wanted)["Body"]
            with body:
                while chunk := body.read(CHUNK):
                    write(chunk)

    def upload(self, key: str, source: Path) -> None:
        with source.open("rb") as file:
            self._put(key, file)

    def parts(self, key: str, count: int) -> _Parts | None:
        return _Parts(self, self._client, {"Bucket": self._bucket, "Key": self._prefix + key}) if count > 1 else None

    def names(self) -> Iterator[tuple[str, int]]:
        for page in self._pages():
            for listed in page.get("Contents", []):
                yield listed["Key"].removeprefix(self._prefix), listed["Size"]

    def folders(self) -> list[str]:
        prefixes = [each["Prefix"] for page in self._pages(Delimiter="/") for each in page.get("CommonPrefixes", [])]
        return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in prefixes)

    def delete(self, prefix: str) -> None:
        for page in self._pages(Prefix=f"{self._prefix}{prefix}/"):
            keys = [listed["Key"] for listed in page.get("Contents", [])]
            in_parallel([partial(self._delete, key) for key in keys], threads=_DELETING)
        with self._translated():
            self._abort_old(f"{self._prefix}{prefix}/")

    def _delete(self, key: str) -> None:
        with self._translated():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _abort_old(self, prefix: str) -> None:
        """Uploads by parts that a killed process left: they cost money, and no list of objects shows them."""
        listed = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in listed:
            for upload in page.get("Uploads", []):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _pages(self, **options: Any) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        with self._translated():
            yield from paginator.paginate(**{"Bucket": self._bucket, "Prefix": self._prefix} | options)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """boto3's errors as ours. Never `from` theirs: some hold what a log must not."""
        from botocore import exceptions as boto

        try:
            yield
        except boto.ClientError as error:
            raise self._meaning(error.response) from None
        except (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError) as error:
            raise TransientError(scrub(error)) from None
        except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.TokenRetrievalError) as error:
            raise StorageError(
                f"no credentials for {self.url}: {scrub(error)}; see boto3's guide, Credentials"
            ) from None
        except boto.BotoCoreError as error:
            raise StorageError(f"{self.url}: {scrub(error)}") from None

    def _meaning(self, answer: dict[str, Any]) -> Exception:
        code, status = answer["Error"].get("Code", ""), answer["ResponseMetadata"]["HTTPStatusCode"]
        reason = f"{code} ({scrub(answer['Error'].get('Message', 'no reason given'))})"
        if code == "NoSuchBucket":
            return ObjectNotFoundError(f"there is no bucket {self._bucket!r}")
        if code in {"NoSuchKey", "404"}:
            return ObjectNotFoundError(reason)
        if code in _CHANGED:
            return ChangedError(reason)
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        if code in _AGAIN or (status >= _SERVER_ERRORS and status != _NOT_IMPLEMENTED) or status == _TOO_MANY:
            return TransientError(reason, retry_after_s=seconds(headers.get("retry-after")))
        if code in _REGION:
            region = headers.get("x-amz-bucket-region") or answer["Error"].get("Region") or "another region"
            used = self._client.meta.region_name
            return StorageError(f"{self.url} is in {region}, asked was {used}: set AWS_REGION to the bucket's region")
        refusal = UnsupportedError if status in (_BAD_REQUEST, _NOT_IMPLEMENTED) else StorageError
        return refusal(f"{self.url} is refused: {reason}; check the credentials and what they allow")


class _Parts:
    """A multipart upload; it begins with its first part."""

    def __init__(self, store: S3, client: Any, target: dict[str, str]) -> None:
        self._store, self._client, self._target = store, client, target
        self._begun, self._tags = threading.Lock(), dict[int, str]()

    def put(self, number: int, content: bytes) -> None:
        with self._store._translated(), self._begun:  # noqa: SLF001 - a part of the same module
            if "UploadId" not in self._target:
                self._target |= {"UploadId": self._client.create_multipart_upload(**self._target)["UploadId"]}
            part = self._target | {"PartNumber": number + 1}
        with self._store._translated():  # noqa: SLF001 - as above
            sent = self._client.upload_part(**part, Body=content, ContentMD5=_md5(content))
        self._tags[number + 1] = sent["ETag"]

    def finish(self) -> None:
        tags = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(self._tags.items())]
        with self._store._translated():  # noqa: SLF001 - as above
            self._client.complete_multipart_upload(**self._target, MultipartUpload={"Parts": tags})

    def abort(self) -> None:
        if "UploadId" not in self._target:
            return
        try:
            with self._store._translated():  # noqa: SLF001 - as above
                self._client.abort_multipart_upload(**self._target)
        except (ObjectNotFoundError, TransientError, StorageError):
            pass  # it goes when the folder is removed, or by the bucket's own rule for old uploads


def _session() -> Any:
    """What boto3's own sessions are made of, with the current environment."""
    import botocore.session

    session = botocore.session.get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@cache
def _loader(folders: str | None) -> Any:
    """Reads the descriptions of Amazon's services, once: it takes a third of a second, and each session would do it."""
    import botocore.loaders

    return botocore.loaders.create_loader(folders)


def _is_number(host: str) -> bool:
    """Whether a host is given by its address: there are no hosts below that."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def _md5(body: Any) -> str:
    """As the header Content-MD5 wants it. body: bytes, or a file at its beginning, where it is left."""
    digest = hashlib.md5(usedforsecurity=False)
    if isinstance(body, bytes):
        digest.update(body)
    else:
        while chunk := body.read(CHUNK):
            digest.update(chunk)
        body.seek(0)
    return base64.b64encode(digest.digest()).decode()
