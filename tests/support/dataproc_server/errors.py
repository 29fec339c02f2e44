"""Errors of Google's services as they arrive: a google.rpc.Status with its details, and the texts that users meet."""

from __future__ import annotations

from google.rpc import code_pb2, error_details_pb2, status_pb2

_DOCS = "https://cloud.google.com/compute/resource-usage"


class ApiError(Exception):
    """What a call or an operation ends with. code: a name of google.rpc.Code."""

    def __init__(self, code, message, *details):
        super().__init__(f"{code}: {message}")
        self.status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message)
        for each in details:
            self.status.details.add().Pack(each)


def invalid(message):
    return ApiError("INVALID_ARGUMENT", message)


def not_found(kind, name):
    return ApiError("NOT_FOUND", f"Not found: {kind} {name}")


def service_disabled(project, service="dataproc.googleapis.com"):
    """An API of the project is off; the link to switch it on is in the details."""
    link = f"https://console.developers.google.com/apis/api/{service}/overview?project={project}"
    info = error_details_pb2.ErrorInfo(
        reason="SERVICE_DISABLED",
        domain="googleapis.com",
        metadata={"service": service, "consumer": f"projects/{project}"},
    )
    links = error_details_pb2.Help(links=[{"description": "Google developers console API activation", "url": link}])
    message = f"{service} has not been used in project {project} before or it is disabled. Enable it, then retry."
    return ApiError("PERMISSION_DENIED", message, links, info)


def no_permission(permission, resource):
    info = error_details_pb2.ErrorInfo(
        reason="IAM_PERMISSION_DENIED", domain="iam.googleapis.com", metadata={"permission": permission}
    )
    return ApiError("PERMISSION_DENIED", f"Not authorized to requested resource: {permission} on {resource}", info)


def nameless_permission():
    """As some services say it: which permission is missing is not told."""
    return ApiError("PERMISSION_DENIED", "The caller does not have permission")


def agent_without_role():
    """In a new project, until Google has made its service agent."""
    agent = "service-1@dataproc-accounts.iam.gserviceaccount.com"
    return ApiError("PERMISSION_DENIED", f"Service account {agent} lacks compute.instances.create on projects/p")


def bad_credentials():
    return ApiError("UNAUTHENTICATED", "Request had invalid authentication credentials. ya29.a0secret-token")


def internal():
    return ApiError("INTERNAL", "Internal error encountered.")


def cannot_act_as(account):
    return ApiError("PERMISSION_DENIED", f"User not authorized to act as service account '{account}'. To act as it, "
                    "the caller must have the permission iam.serviceAccounts.actAs.")  # fmt: skip


def quota(metric, *, requested=2.0, available=0.0):
    return invalid(f"Insufficient '{metric}' quota. Requested {requested}, available {available}. Your resource "
                   f"request exceeds your available quota. See {_DOCS}")  # fmt: skip


def stock_out(zone, *, details=True):
    reason = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" if details else "ZONE_RESOURCE_POOL_EXHAUSTED"
    return ApiError("RESOURCE_EXHAUSTED", f"Multiple Errors:\n - The zone 'projects/p/zones/{zone}' does not have "
                    f"enough resources available to fulfill the request. ({reason})")  # fmt: skip


def organisation_policy(constraint):
    return ApiError("FAILED_PRECONDITION", f"Constraint {constraint} violated for project. See "
                    "https://cloud.google.com/resource-manager/docs/organization-policy")  # fmt: skip


def too_many_requests(retry_after_s=1):
    info = error_details_pb2.RetryInfo()
    info.retry_delay.seconds = retry_after_s
    return ApiError("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'API requests'", info)


def unavailable():
    return ApiError("UNAVAILABLE", "The service is currently unavailable.")
