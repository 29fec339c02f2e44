"""S3 and what speaks like it, by boto3. Driver and executors.

Credentials, region and endpoint are boto3's business: environment (AWS_ENDPOINT_URL_S3, AWS_REGION, …), profile, role.
Requests are boto3's plain ones and the parallel work is ours: its transfer manager does not notice a multipart
download that was damaged on the way, and its CRT client ignores an endpoint of one's own (boto3 1.44).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server_utils.errors import EnvironmentMissingError, StorageError
from server_utils.storage.secrets import scrub
from server_utils.storage.store import CHUNK, ChangedError, NotThereError, TransientError, seconds

_CONNECT_S, _READ_S = 10, 60
_SERVER_ERRORS, _TOO_MANY = 500, 429
_AGAIN = {"SlowDown", "RequestTimeout", "Throttling", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "307"}
_AT_ONCE = 1000  # keys that one DeleteObjects takes


class S3:
    """A prefix of a bucket as a store. Its methods are described in `store.Store`."""

    ranged = True

    def __init__(self, bucket: str, prefix: str, *, connections: int) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise EnvironmentMissingError("s3:// needs boto3: pip install 'spark-sidecar[s3]'") from error
        self.url, self._bucket, self._prefix = f"s3://{bucket}/{prefix}", bucket, f"{prefix}/" if prefix else ""
        config = Config(
            max_pool_connections=connections,
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 1, "mode": "standard"},  # patience is in one place, and that is not here
            response_checksum_validation="when_required",  # our own hashes say more; theirs skip ranges anyway
        )
        with self._translated():
            self._client = boto3.session.Session().client("s3", config=config)

    def read(self, key: str) -> tuple[bytes, str]:
        with self._translated():
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            return answer["Body"].read(), answer["ETag"]

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        condition = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        with self._translated():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content, **condition)

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:
        wanted = f"bytes={start}-{start + size - 1}"
        with self._translated():
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, Range=wanted)["Body"]
            with body:
                while chunk := body.read(CHUNK):
                    write(chunk)

    def upload(self, key: str, source: Path) -> None:
        with self._translated(), source.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=file)

    def parts(self, key: str, count: int) -> _Parts | None:
        return _Parts(self, self._client, {"Bucket": self._bucket, "Key": self._prefix + key}) if count > 1 else None

    def names(self) -> Iterator[tuple[str, int]]:
        for page in self._pages():
            for found in page.get("Contents", []):
                yield found["Key"].removeprefix(self._prefix), found["Size"]

    def folders(self) -> list[str]:
        found = [each["Prefix"] for page in self._pages(Delimiter="/") for each in page.get("CommonPrefixes", [])]
        return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in found)

    def delete(self, prefix: str) -> None:
        with self._translated():
            for page in self._pages(Prefix=f"{self._prefix}{prefix}/", PaginationConfig={"PageSize": _AT_ONCE}):
                if keys := [{"Key": found["Key"]} for found in page.get("Contents", [])]:
                    self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})
            self._abort_old(f"{self._prefix}{prefix}/")

    def _abort_old(self, prefix: str) -> None:
        """Uploads by parts that a killed process left: they cost money, and no list of objects shows them."""
        listed = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in listed:
            for found in page.get("Uploads", []):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=found["Key"], UploadId=found["UploadId"])

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
        said = f"{code} ({scrub(answer['Error'].get('Message', 'no reason given'))})"
        if code == "NoSuchBucket":
            return NotThereError(f"there is no bucket {self._bucket!r}")
        if code in {"NoSuchKey", "404"}:
            return NotThereError(said)
        if code in _CHANGED:
            return ChangedError(said)
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        if code in _AGAIN or status >= _SERVER_ERRORS or status == _TOO_MANY:
            return TransientError(said, retry_after_s=seconds(headers.get("retry-after")))
        if code in _REGION:
            region = headers.get("x-amz-bucket-region") or answer["Error"].get("Region") or "another region"
            used = self._client.meta.region_name
            return StorageError(f"{self.url} is in {region}, asked was {used}: set AWS_REGION to the bucket's region")
        return StorageError(f"{self.url} is refused: {said}; check the credentials and what they allow")


class _Parts:
    """A multipart upload; it begins with its first part."""

    def __init__(self, store: S3, client: Any, target: dict[str, str]) -> None:
        self._store, self._client, self._target = store, client, target
        self._begun, self._tags = threading.Lock(), dict[int, str]()

    def put(self, number: int, content: bytes) -> None:
        with self._store._translated():  # noqa: SLF001 - a part of the same module
            with self._begun:
                if "UploadId" not in self._target:
                    self._target |= {"UploadId": self._client.create_multipart_upload(**self._target)["UploadId"]}
            sent = self._client.upload_part(**self._target, PartNumber=number + 1, Body=content)
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
        except (NotThereError, TransientError, StorageError):
            pass  # it goes when the folder is removed, or by the bucket's own rule for old uploads
