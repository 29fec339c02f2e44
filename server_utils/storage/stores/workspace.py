"""The client of a Databricks workspace, and its errors as ours. Laptop.

Host and credentials are the SDK's business: environment, ~/.databrickscfg, a sign-in by browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server_utils.errors import EnvironmentMissingError, StorageError
from server_utils.storage.stores.base import ChangedError, NotThereError, TransientError
from server_utils.storage.stores.redact import scrub


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
    except (sdk.NotFound, FileNotFoundError) as error:
        raise NotThereError(scrub(error)) from None
    except (sdk.AlreadyExists, sdk.ResourceConflict) as error:
        raise ChangedError(scrub(error)) from None
    except (
        sdk.InternalError,
        sdk.TemporarilyUnavailable,
        sdk.TooManyRequests,
        TimeoutError,
        RequestException,
    ) as error:
        raise TransientError(scrub(error)) from None
    except (base.DatabricksError, ValueError) as error:  # ValueError: no way to sign in
        raise StorageError(
            f"{url} is refused: {scrub(error)}; check DATABRICKS_HOST and the credentials, or sign in with "
            "`databricks auth login`"
        ) from None
