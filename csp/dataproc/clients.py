"""Make Google's clients for one project and region, and translate their errors into ours. Laptop.

Credentials are Application Default Credentials: from `gcloud auth application-default login`, from a file that
GOOGLE_APPLICATION_CREDENTIALS names, or of the machine's own account. gcloud's own variables replace the addresses
(CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE …). DATAPROC_EMULATOR_HOST and STORAGE_EMULATOR_HOST name servers that need no
credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from csp.dataproc.failures import AGENT, explain, sentence, short
from server_utils.errors import ConfigurationError, DeploymentError, EnvironmentMissingError
from server_utils.storage.stores.base import TransientError, seconds

TIMEOUT_S = 60.0  # of one request: without it, a client waits many minutes for an address that does not answer
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_EMAIL = "https://www.googleapis.com/auth/userinfo.email"
_ADDRESSES = {
    "compute": "https://compute.googleapis.com/compute/v1/",
    "serviceusage": "https://serviceusage.googleapis.com/",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com/",
    "iam": "https://iam.googleapis.com/",
    "logging": "https://logging.googleapis.com/",
    "oauth2": "https://www.googleapis.com/",
}
_BAD_REQUEST, _UNAUTHORIZED, _TOO_MANY, _SERVER_ERRORS = 400, 401, 429, 500
_EXPIRED = r"Getting metadata from plugin failed.*(invalid_[a-z]+|unauthorized_client|Reauthentication is needed)"
_SIGN_IN = "run `gcloud auth application-default login`, and try again"


@dataclass(frozen=True)
class Clients:
    """The clients of one project and region. Each is made at its first use."""

    project: str
    region: str
    credentials: Any

    @cached_property
    def clusters(self) -> Any:
        """ClusterController."""
        from google.cloud.dataproc_v1.services.cluster_controller import ClusterControllerClient

        return self._regional(ClusterControllerClient)

    @cached_property
    def jobs(self) -> Any:
        """JobController."""
        from google.cloud.dataproc_v1.services.job_controller import JobControllerClient

        return self._regional(JobControllerClient)

    @cached_property
    def workflows(self) -> Any:
        """WorkflowTemplateService."""
        from google.cloud.dataproc_v1.services.workflow_template_service import WorkflowTemplateServiceClient

        return self._regional(WorkflowTemplateServiceClient)

    @cached_property
    def operations(self) -> Any:
        """The long-running operations of Dataproc."""
        return self.clusters.transport.operations_client

    @cached_property
    def storage(self) -> Any:
        """Cloud Storage."""
        from google.cloud import storage

        return storage.Client(project=self.project, credentials=self.credentials)

    @cached_property
    def _http(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self.credentials)

    def get(self, api: str, path: str, **query: Any) -> dict[str, Any]:
        """Send a GET request to one of Google's other APIs, and return the body of the response."""
        return self._send("GET", api, path, params=query)

    def post(self, api: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a POST request to one of Google's other APIs, and return the body of the response."""
        return self._send("POST", api, path, json=body)

    def _send(self, method: str, api: str, path: str, **content: Any) -> dict[str, Any]:
        address = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}") or _ADDRESSES[api]
        with translated():
            response = self._http.request(method, address.rstrip("/") + "/" + path, timeout=TIMEOUT_S, **content)
        if response.status_code >= _BAD_REQUEST:
            raise _error_of(response)
        body: dict[str, Any] = response.json()
        return body

    def _regional(self, client: Any) -> Any:
        if address := os.environ.get("DATAPROC_EMULATOR_HOST"):
            import grpc

            channel = grpc.insecure_channel(address)
            return client(transport=client.get_transport_class("grpc")(channel=channel))
        # The default address serves the region `global` only.
        options = {"api_endpoint": f"{self.region}-dataproc.googleapis.com:443"}
        return client(credentials=self.credentials, client_options=options)


def sign_in(project: str | None, region: str | None) -> Clients:
    """Sign in with the credentials of the user's own tools.

    Args:
        project: None takes the project of gcloud or of the credentials.
        region: None takes gcloud's variable CLOUDSDK_DATAPROC_REGION.

    Raises:
        EnvironmentMissingError: Google's libraries are not installed.
        ConfigurationError: there is no project or region.
        DeploymentError: there are no credentials.
    """
    credentials, default_project = _credentials()
    project = project or os.environ.get("CLOUDSDK_CORE_PROJECT") or default_project
    region = region or os.environ.get("CLOUDSDK_DATAPROC_REGION")
    if not project:
        raise ConfigurationError("no project is known; give --project, or set GOOGLE_CLOUD_PROJECT")
    if not region:
        raise ConfigurationError("no region is known; give --region, or set CLOUDSDK_DATAPROC_REGION")
    return Clients(project, region, credentials)


def _credentials() -> tuple[Any, str | None]:
    try:
        import google.auth
        import google.cloud.dataproc_v1
        import google.cloud.storage
        from google.auth.credentials import AnonymousCredentials
    except ImportError as error:
        raise EnvironmentMissingError(
            f"Dataproc needs {error.name or 'google-cloud-dataproc'}: pip install 'spark-sidecar[dataproc]'"
        ) from error
    if os.environ.get("DATAPROC_EMULATOR_HOST"):
        return AnonymousCredentials(), os.environ.get("GOOGLE_CLOUD_PROJECT")
    with translated():
        default: tuple[Any, str | None] = google.auth.default(scopes=[_SCOPE, _EMAIL])
        return default


@contextmanager
def translated(*, but: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Translate the clients' errors into ours, `but` for those that a caller expects.

    Never `from` theirs: some hold secrets, which no log may show.
    """
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from requests import RequestException

    transient = (api.ServerError, api.RetryError, api.Aborted, api.Cancelled, RequestException, auth.TransportError)
    try:
        yield
    except but:
        raise
    except api.Unauthorized as error:  # by REST, and by gRPC
        raise DeploymentError(f"Google does not accept the credentials: {short(error.message)}; {_SIGN_IN}") from None
    except api.TooManyRequests as error:
        raise _too_many(error) from None
    except transient as error:
        raise _transient(str(error)) from None
    except api.GoogleAPICallError as error:
        raise _refused(str(error.message), link=_link(error)) from None
    except auth.GoogleAuthError as error:
        if error.retryable:
            raise TransientError(short(str(error))) from None
        raise DeploymentError(f"there are no credentials for Google Cloud: {short(str(error))}; {_SIGN_IN}") from None


def _transient(text: str) -> Exception:
    """Return a transient error. An expired sign-in is none, though gRPC reports it as "unavailable" too."""
    if re.search(_EXPIRED, text):
        return DeploymentError(f"Google does not accept the credentials: {short(text)}; {_SIGN_IN}")
    return TransientError(short(text))


def _refused(text: str, *, link: str = "") -> Exception:
    """Return a refusal. It is transient if a new project lacks its service agent, which Google makes in minutes."""
    transient = explain(text).code == AGENT
    return (TransientError if transient else DeploymentError)(sentence(text, link=link))


def _too_many(error: Any) -> Exception:
    """Return a transient error for too many requests, and a refusal for a lack of quota or machines."""
    failure = sentence(error.message, link=_link(error))
    if error.message and ("RESOURCE_POOL" in error.message or "' quota" in error.message):
        return DeploymentError(failure)
    delays = [each.retry_delay.seconds for each in error.details or () if hasattr(each, "retry_delay")]
    return TransientError(short(error.message), retry_after_s=max(delays, default=0))


def _link(error: Any) -> str:
    """Return the web page that the details of an error name; "" for none."""
    for each in error.details or ():
        for link in getattr(each, "links", ()):
            return str(link.url)
    return ""


def _error_of(response: Any) -> Exception:
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = response.text[:300]
    if response.status_code == _TOO_MANY or response.status_code >= _SERVER_ERRORS:
        delay_s = seconds(response.headers.get("Retry-After"))
        return TransientError(f"{response.status_code} {short(message)}", retry_after_s=delay_s)
    if response.status_code == _UNAUTHORIZED:
        return DeploymentError(f"Google does not accept the credentials: {short(message)}; {_SIGN_IN}")
    return _refused(message)
