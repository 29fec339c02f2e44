"""From an address to the store that holds it. Driver and executors."""

from __future__ import annotations

from pathlib import Path

from server_utils.errors import ConfigurationError
from server_utils.storage.stores.base import Store
from server_utils.storage.stores.files import Files
from server_utils.storage.urls import Address

# Of one host at a time, for all files of a model. One connection to a cloud gives 30 to 90 MiB/s, so a fast network
# wants many; a part that is sent is in memory, and on two cores more than 16 were slower.
CONNECTIONS = 32
SENDING = 16


def store(address: Address) -> Store:
    """The folder of an address. Raises ConfigurationError for one that cannot be written to or read from a node.

    Raises:
        EnvironmentMissingError: the client's package is not installed.
        StorageError: there are no credentials.
    """
    path = Path(address.path)
    if address.kind == "s3":
        from server_utils.storage.stores.s3 import S3

        return S3(address.bucket, address.path, connections=CONNECTIONS)
    if address.kind == "gs":
        from server_utils.storage.stores.gcs import Gcs

        return Gcs(address.bucket, address.path, connections=CONNECTIONS)
    if address.kind == "volume" and not Path("/Volumes").is_dir():
        from server_utils.storage.stores.databricks import Volume

        return Volume(address.path, str(address))
    if address.kind == "dbfs":
        mount = Path("/dbfs")
        if mount.is_dir():
            return Files(mount / address.path.lstrip("/"), str(address))
        from server_utils.storage.stores.databricks import Dbfs

        return Dbfs(address.path, str(address))
    if address.kind == "hf":
        raise ConfigurationError(
            f"{address} is a source to copy from, once, so that nodes do not meet the hub's rate limit: save_model("
            f"'{address}', model_url('{path.name}')), then load that"
        )
    return Files(path, str(address))
