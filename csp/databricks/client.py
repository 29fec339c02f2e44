"""Make the SDK's clients, and translate its errors into ours. Laptop.

The SDK finds host and credentials by itself: environment, ~/.databrickscfg, a sign-in by browser. There is no option
for a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from csp.cloud import Exit
from server_utils.errors import DeploymentError, EnvironmentMissingError, SidecarError
from server_utils.storage.stores.base import TransientError
from server_utils.storage.stores.databricks import no_token, text_of

# The SDK would retry for five minutes without a message. Ours retries, and reports each retry.
_SDK_RETRY_S = 30
_ONCE_S = 1  # for create and start: `up` checks the cluster before it sends a second request
_NO_TOKEN = ("invalid access token", "token is expired", "token expired", "cannot configure default credentials")


class GoneError(DeploymentError):
    """The requested object does not exist."""


def connect(profile: str | None, *, tries_once: bool = False) -> Any:
    """Return a client of the workspace that the profile or the environment names. Sends nothing but the sign-in.

    Raises:
        EnvironmentMissingError: databricks-sdk is not installed.
        DeploymentError: there are no credentials.
    """
    with translated("signing in"):
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        retry_s = _ONCE_S if tries_once else _SDK_RETRY_S
        return WorkspaceClient(config=Config(profile=profile, retry_timeout_seconds=retry_s))


@contextmanager
def translated(what: str, *, needs: str = "") -> Iterator[None]:
    """Translate the SDK's errors into ours. Never `from` theirs: they may hold presigned addresses.

    Args:
        what: the step, such as "creating the cluster".
        needs: the privilege that the step needs, which the workspace does not always name.

    Raises:
        GoneError: the requested object does not exist.
        TransientError: a retry may work.
        DeploymentError: the workspace refuses the step.
    """
    base, platform = _errors()
    from requests import RequestException

    try:
        yield
    except SidecarError:  # already one of ours, perhaps also a ValueError
        raise
    except platform.PermissionDenied as error:
        raise _denied(what, error, needs) from None
    except platform.Unauthenticated as error:
        raise _unknown(what, error) from None
    except platform.NotFound as error:
        raise GoneError(f"{what}: {text_of(error)}", Exit.NOT_FOUND) from None
    except base.DatabricksError as error:
        raise _refused(what, error, platform) from None
    except (TimeoutError, RequestException) as error:
        raise TransientError(text_of(error.__cause__ or error)) from None
    except OSError as error:  # the tool that holds the sign-in gave no token
        raise _no_token(what, error) from None
    except ValueError as error:  # there are no credentials
        raise _unknown(what, error) from None


def _no_token(what: str, error: OSError) -> Exception:
    why = no_token(what, error)
    return why if isinstance(why, TransientError) else DeploymentError(str(why))


def _errors() -> tuple[Any, Any]:
    """Return the SDK's modules of errors. Raises EnvironmentMissingError if the SDK is not installed."""
    try:
        from databricks.sdk.errors import base, platform
    except ImportError as error:
        raise EnvironmentMissingError(
            "Databricks needs databricks-sdk, which is not installed: pip install 'spark-sidecar[databricks]'"
        ) from error
    return base, platform


def _refused(what: str, error: Any, platform: Any) -> Exception:
    text = text_of(error)
    if isinstance(error, platform.BadRequest) and "does not exist" in text:
        return GoneError(f"{what}: {text}", Exit.NOT_FOUND)
    is_quota = "quota" in text.lower()
    busy = platform.TooManyRequests, platform.InternalError, platform.TemporarilyUnavailable, platform.DeadlineExceeded
    # A quota of resources stays exhausted. A quota of requests is free again in a moment.
    if isinstance(error, (*busy, platform.Aborted)) and not (
        is_quota and isinstance(error, platform.ResourceExhausted)
    ):
        return TransientError(text, retry_after_s=error.retry_after_secs or 0.0)
    if is_quota:
        return DeploymentError(f"{what}: a quota is used up: {text}. Ask for more, or take a smaller shape")
    if isinstance(error, platform.ResourceConflict):
        return DeploymentError(f"{what}: it conflicts with what is there: {text}. Look with `status`, then try again")
    return DeploymentError(f"{what} is refused: {text}")


def _denied(what: str, error: Exception, needs: str) -> DeploymentError:
    text = text_of(error)
    if any(each in text.lower() for each in _NO_TOKEN):
        return _unknown(what, error)
    needed = f". It needs {needs}" if needs else ""
    return DeploymentError(f"{what} is not allowed: {text}{needed}; ask an administrator of the workspace or the owner")


def _unknown(what: str, error: Exception) -> DeploymentError:
    text = " ".join(text_of(error).split())
    return DeploymentError(
        f"{what}: the workspace does not know you: {text}. Sign in with `databricks auth login`, or give --profile, or "
        "set DATABRICKS_HOST and DATABRICKS_TOKEN"
    )
