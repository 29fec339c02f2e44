"""What goes wrong, as plain data: a plan of faults for requests, clusters and runs."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

from support.databricks_server.refusals import Refusal


@dataclass(frozen=True)
class Fault:
    """What happens to requests instead of, or after, their work.

    route: `VERB /path`, with stars. skip: so many matching requests are left alone first. times: so many are hit.
    status, code, message, retry_after_s: the answer. drop: "before" cuts the connection and does nothing; "after"
    does the work and cuts the connection, so that the client does not know what became of it. interrupt: the work is
    done, and the user of this process presses Ctrl-C before the answer comes.
    """

    route: str
    status: int = 500
    code: str = "INTERNAL_ERROR"
    message: str = "Internal error"
    retry_after_s: int | None = None
    drop: str | None = None
    interrupt: bool = False
    skip: int = 0
    times: int = 1

    def refusal(self):
        waits = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return Refusal(self.status, self.code, self.message, **waits)


@dataclass(frozen=True)
class ClusterFate:
    """What becomes of the next cluster.

    code, type, parameters: a termination reason; state: TERMINATED or ERROR; at: the state in which it strikes,
    PENDING or RUNNING. workers: how many come at all; None is all that were asked for. missing: the reason's code why
    the others do not.
    """

    code: str | None = None
    type: str = "CLOUD_FAILURE"
    parameters: dict = field(default_factory=dict)
    message: str = ""
    state: str = "TERMINATED"
    at: str = "PENDING"
    workers: int | None = None
    missing: str | None = None


@dataclass(frozen=True)
class RunFate:
    """What becomes of the next run, which then executes nothing."""

    life_cycle: str = "INTERNAL_ERROR"
    result: str | None = "FAILED"
    message: str = ""
    error: str | None = None
    error_trace: str | None = None


# Reasons that users meet: no capacity, no quota, and no permission at a cloud; and what Databricks itself says.
_AWS = "aws_api_error_code"
REASONS = {
    "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE": ("CLOUD_FAILURE", _AWS, "InsufficientInstanceCapacity"),
    "AWS_RESOURCE_QUOTA_EXCEEDED": ("CLIENT_ERROR", _AWS, "VcpuLimitExceeded"),
    "AZURE_OPERATION_NOT_ALLOWED_EXCEPTION": ("CLOUD_FAILURE", "azure_error_code", "OperationNotAllowed"),
    "AZURE_QUOTA_EXCEEDED_EXCEPTION": ("CLIENT_ERROR", "azure_error_code", "QuotaExceeded"),
    "BOOTSTRAP_TIMEOUT": ("CLOUD_FAILURE", "databricks_error_message", "[id: InstanceId(i-0a)] Bootstrap timeout"),
    "CLOUD_PROVIDER_RESOURCE_STOCKOUT": ("CLOUD_FAILURE", "azure_error_code", "SkuNotAvailable"),
    "GCP_DENIED_BY_ORG_POLICY": ("CLIENT_ERROR", "gcp_error_message", "constraints/compute.vmExternalIpAccess"),
    "GCP_INSUFFICIENT_CAPACITY": ("CLOUD_FAILURE", "gcp_error_message", "ZONE_RESOURCE_POOL_EXHAUSTED"),
    "GCP_QUOTA_EXCEEDED": ("CLIENT_ERROR", "gcp_error_message", "Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 0.0"),
    "REQUEST_REJECTED": ("CLIENT_ERROR", "databricks_error_message", "Cluster requests exceed the limit"),
    "SPOT_INSTANCE_TERMINATION": ("CLOUD_FAILURE", "instance_id", "i-0a"),
    "TRIAL_EXPIRED": ("CLIENT_ERROR", "databricks_error_message", "The trial of this workspace has ended"),
    "UNSUPPORTED_INSTANCE_TYPE": ("CLIENT_ERROR", "databricks_error_message", "Instance type is not supported"),
}  # fmt: skip


def fate(code, **changes):
    """The fate of a cluster that ends for a reason that users meet."""
    kind, name, value = REASONS[code]
    return ClusterFate(**{"code": code, "type": kind, "parameters": {name: value}, "message": value} | changes)


class Plan:
    """The faults that are still to come. Each part is a list that a test fills."""

    def __init__(self):
        self.faults, self.clusters, self.runs = [], [], []
        self._seen = {}

    def fault(self, verb, path):
        """The fault of this request, or None."""
        for number, each in enumerate(self.faults):
            if not fnmatch.fnmatchcase(f"{verb} {path}", each.route):
                continue
            seen = self._seen[number] = self._seen.get(number, 0) + 1
            if each.skip < seen <= each.skip + each.times:
                return each
        return None

    def not_met(self):
        """The routes of the faults that no request has met so far."""
        return [each.route for number, each in enumerate(self.faults) if self._seen.get(number, 0) <= each.skip]

    def next_cluster(self):
        return self.clusters.pop(0) if self.clusters else ClusterFate()

    def next_run(self):
        return self.runs.pop(0) if self.runs else None
