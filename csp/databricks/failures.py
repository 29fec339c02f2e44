"""Explain why a cluster failed: a sentence and a fix for each termination code, and the init script's log. Laptop.

The codes are those of `TerminationReasonCode` in the SDK. A code that is not in the table keeps its name and message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from csp.cloud import Failure
from server_utils.host.redaction import scrub


@dataclass(frozen=True)
class Meaning:
    """What a code means. no_capacity: whether another zone or node type may have capacity now."""

    reason: str
    fix: str
    no_capacity: bool = False


_QUOTA = Meaning(
    "the GPU quota of your cloud account is used up",
    "Ask the cloud for more; meanwhile take a smaller --shape or --workers 0",
)
_STOCKOUT = Meaning(
    "the cloud has no such node in this zone now", "Give more --zone or --shape, or try later", no_capacity=True
)
_NO_SUCH_NODE = Meaning("zone or region has no such node type", "Give another --zone or --shape", no_capacity=True)
_NETWORK = Meaning(
    "the nodes do not reach the control plane", "Look at routes, NAT, firewall and private link of the workspace"
)
_FORBIDDEN = Meaning(
    "your organisation or the cloud account forbids it", "Ask the cloud's administrator: node types, regions, addresses"
)
_INIT = Meaning("the init script ended with an error", "Repair what its log says, then run the same command again")
_ADDRESSES = Meaning(
    "the subnet of the workspace has no free addresses",
    "Ask the administrator for a larger subnet, or use fewer workers",
)
_BUSY = Meaning("the cloud or Databricks throttles requests", "Try again in some minutes")
_DRIVER = Meaning(
    "the driver does not answer", "Look at `logs --kind driver`; take a driver with more memory if it was killed"
)

MEANINGS = {
    "AWS_AUTHORIZATION_FAILURE": _FORBIDDEN,
    "AWS_INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET_FAILURE": _ADDRESSES,
    "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE": _STOCKOUT,
    "AWS_MAX_SPOT_INSTANCE_COUNT_EXCEEDED_FAILURE": _QUOTA,
    "AWS_REQUEST_LIMIT_EXCEEDED": _BUSY,
    "AWS_RESOURCE_QUOTA_EXCEEDED": _QUOTA,
    "AWS_UNSUPPORTED_FAILURE": _NO_SUCH_NODE,
    "AZURE_OPERATION_NOT_ALLOWED_EXCEPTION": _FORBIDDEN,
    "AZURE_QUOTA_EXCEEDED_EXCEPTION": _QUOTA,
    "AZURE_RESOURCE_MANAGER_THROTTLING": _BUSY,
    "AZURE_RESOURCE_PROVIDER_THROTTLING": _BUSY,
    "AZURE_VNET_CONFIGURATION_FAILURE": _NETWORK,
    "BOOTSTRAP_TIMEOUT": _NETWORK,
    "BOOTSTRAP_TIMEOUT_DUE_TO_MISCONFIG": _NETWORK,
    "CLOUD_PROVIDER_LAUNCH_FAILURE": Meaning("the cloud did not start the nodes", "Try again, or another --shape"),
    "CLOUD_PROVIDER_RESOURCE_STOCKOUT": _STOCKOUT,
    "CLOUD_PROVIDER_RESOURCE_STOCKOUT_DUE_TO_MISCONFIG": _STOCKOUT,
    "CONTROL_PLANE_CONNECTION_FAILURE": _NETWORK,
    "CONTROL_PLANE_CONNECTION_FAILURE_DUE_TO_MISCONFIG": _NETWORK,
    "DRIVER_OUT_OF_MEMORY": _DRIVER,
    "DRIVER_UNREACHABLE": _DRIVER,
    "DRIVER_UNRESPONSIVE": _DRIVER,
    "EOS_SPARK_IMAGE": Meaning("the runtime is at its end of support", "Give a newer --runtime"),
    "GCP_DENIED_BY_ORG_POLICY": _FORBIDDEN,
    "GCP_FORBIDDEN": _FORBIDDEN,
    "GCP_INSUFFICIENT_CAPACITY": _STOCKOUT,
    "GCP_IP_SPACE_EXHAUSTED": _ADDRESSES,
    "GCP_QUOTA_EXCEEDED": _QUOTA,
    "GCP_RESOURCE_QUOTA_EXCEEDED": _QUOTA,
    "GLOBAL_INIT_SCRIPT_FAILURE": Meaning("a global init script failed", "Ask the administrator"),
    "INACTIVITY": Meaning("it had no work for as long as --idle-minutes says", "Run the same `up` to start it again"),
    "INIT_SCRIPT_FAILURE": _INIT,
    "INSTANCE_UNREACHABLE": _NETWORK,
    "INVALID_ARGUMENT": Meaning("Databricks refuses a field of the cluster", "Its message says which"),
    "NETWORK_CONFIGURATION_FAILURE": _NETWORK,
    "REQUEST_LIMIT_EXCEEDED": _BUSY,
    "REQUEST_THROTTLED": _BUSY,
    "SPOT_INSTANCE_TERMINATION": Meaning("the cloud took a spot node back", "Leave out --spot, or start it again"),
    "TRIAL_EXPIRED": Meaning("the trial of the workspace is over", "It needs a paid account"),
    "UC_VOLUME_MISCONFIGURED": Meaning("the cluster may not read the volume", "Grant READ VOLUME to its user"),
    "UNSUPPORTED_INSTANCE_TYPE": _NO_SUCH_NODE,
    "USER_REQUEST": Meaning("somebody ended it", "Run the same `up` to start it again"),
    "WORKSPACE_CANCELLED_ERROR": Meaning("the workspace is cancelled", "It needs another workspace"),
}  # fmt: skip
_REASON = re.compile(r"\bReason: ([A-Z_]+) \(")  # as in "Cluster x was terminated. Reason: CODE (TYPE). Parameters: …"
_LOSSES = {"ADD_NODES_FAILED", "NODES_LOST"}  # events
_BEGINNINGS = {"CREATING", "STARTING", "RESTARTING"}  # events before these belong to an earlier start of the cluster
_NO_VOLUME = "UC_VOLUME_MISCONFIGURED"  # an event too
_UNKNOWN = Meaning("Databricks ended it", "Look at the event log on its page")


def meaning_in(message: str) -> Meaning | None:
    """Return the meaning of the termination code in the message of a run; None if the message has none."""
    reason = _REASON.search(message)
    return MEANINGS.get(reason[1]) if reason else None


def failure_of(details: Any, events: Callable[[], Iterable[Any]], node_log: Callable[[], str]) -> Failure:
    """Explain a failure by the cluster's details, its events and our own log.

    Args:
        details: the SDK's `ClusterDetails`.
        events: returns the events, the newest first; called only if the details do not explain the failure.
        node_log: returns the end of the log of the node that failed; "" if it wrote none.
    """
    reason = details.termination_reason
    code = reason.code.value if reason and reason.code else (details.state.value if details.state else "UNKNOWN")
    meaning, log = MEANINGS.get(code, _UNKNOWN), ""
    if code == "INIT_SCRIPT_FAILURE" and not (log := node_log()):
        event_list = list(events())
        log = _script_error(event_list)
        if _volume_is_unreadable(event_list):
            meaning = MEANINGS[_NO_VOLUME]
    message = _parameters(reason) or details.state_message or ""
    text = f"{meaning.reason}: {scrub(message)}" if message else meaning.reason
    return Failure(code, text.rstrip("."), meaning.fix, scrub(log), no_capacity=meaning.no_capacity)


def missing_workers(events: Iterable[Any]) -> str:
    """Return why a running cluster lacks workers; "" if no event explains it. events: the newest first."""
    for event in events:
        kind = event.type.value if event.type else ""
        if kind in _BEGINNINGS:
            return ""
        reason = event.details and event.details.reason
        if kind in _LOSSES and reason and reason.code:
            meaning = MEANINGS.get(reason.code.value, _UNKNOWN)
            parameters = _parameters(reason)
            return scrub(f"{reason.code.value}: {meaning.reason}{parameters and f', {parameters}'}. {meaning.fix}")
    return ""


def _parameters(reason: Any) -> str:
    parameters = (reason.parameters if reason else None) or {}
    return " ".join(value for key, value in sorted(parameters.items()) if key.endswith("message"))


def _volume_is_unreadable(events: Iterable[Any]) -> bool:
    """Return whether the cluster could not read the volume with the init script. No termination code says so."""
    for event in events:
        kind = event.type.value if event.type else ""
        if kind == _NO_VOLUME or kind in _BEGINNINGS:
            return bool(kind == _NO_VOLUME)
    return False


def _script_error(events: Iterable[Any]) -> str:
    """Return the output of a failed init script from the events, which keep it if no log was written."""
    for event in events:
        scripts = event.details and event.details.init_scripts and event.details.init_scripts.cluster
        for each in scripts or []:
            if text := each.stderr or each.error_message:
                return str(text)
    return ""
