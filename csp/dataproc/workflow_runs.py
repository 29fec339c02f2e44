"""Run a notebook or a Python file on a cluster of its own: a Dataproc workflow of one job. Laptop.

Dataproc makes the cluster of a workflow and deletes it with the end of the run, even if the laptop is switched off. The
id of such a run is the id of the workflow's operation. After the workflow has started its job, the state of the run is
that of the job. An object in the folder of the run, with the run's id as its name, holds the owner: in the first
seconds Dataproc does not tell the cluster of a workflow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from csp.cloud import TAG, RunPhase, RunRequest, RunState
from csp.dataproc import logs, runs
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from csp.dataproc.failures import explain, sentence, short
from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ChangedError, ObjectNotFoundError

_PREFIX = "workflow-"
_LONGEST = 35  # characters of a cluster's name, to which Dataproc adds a suffix
_STEP = "run"
_ACTIVE = "status.state = ACTIVE"  # the filter of a list of operations
_WORKFLOW = ".WorkflowMetadata"  # how the type of a workflow's operation ends
_DAY_S = 24 * 3600
_GRACE_S = 600  # for the job to end by itself; also the smallest time limit that Dataproc accepts
_CANCELLED = 1  # google.rpc.Code of an operation that was cancelled


def submit(clients: Clients, request: RunRequest, cluster: Mapping[str, Any], owner: str) -> str:
    """Send the source, start the workflow and return the id of the run. The same token starts no second workflow.

    Args:
        clients: of the project and region.
        request: the source and its parameters.
        cluster: the definition of the cluster, as in a request that creates it.
        owner: of the run.
    """
    labels = {key: value for key, value in cluster["labels"].items() if key != TAG} | {runs.LABEL: request.name}
    managed = {"cluster_name": request.name[:_LONGEST].rstrip("-"), "config": cluster["config"], "labels": labels}
    template: dict[str, Any] = {"placement": {"managed_cluster": managed}}
    template |= {"jobs": [runs.send(request) | {"step_id": _STEP}], **_time_limit(request.timeout_s)}
    body = {
        "parent": f"projects/{clients.project}/regions/{clients.region}",
        "template": template,
        "request_id": request.token,
    }
    with translated():
        operation = clients.workflows.instantiate_inline_workflow_template(request=body, retry=None, timeout=TIMEOUT_S)
    run_id = _id(operation.operation)
    with suppress(ChangedError):  # our first request has arrived
        factory.store(urls.parse(runs.folder_of(request))).write(run_id, owner.encode(), replaces=None)
    return run_id


def cancel(clients: Clients, run_id: str) -> None:
    """Cancel a run, which ends its own cluster too. A run that ended or does not exist is no error."""
    from google.api_core.exceptions import FailedPrecondition, NotFound

    if not run_id.startswith(_PREFIX):
        runs.cancel(clients, run_id)
        return
    with suppress(FailedPrecondition, NotFound), translated(but=(FailedPrecondition, NotFound)):
        _operations(clients).cancel_operation(_name(clients, run_id), retry=None, timeout=TIMEOUT_S)


def active(clients: Clients, clusters: Collection[str], root: str, owners: Collection[str]) -> list[str]:
    """Return the ids of the active workflows of these owners.

    Args:
        clients: of the project and region.
        clusters: the names of the owners' existing clusters of runs.
        root: address of the folder of the deployment, for workflows that have no cluster yet; "" if it is unknown.
        owners: of the runs.
    """
    parent = f"projects/{clients.project}/regions/{clients.region}/operations"
    with translated():
        operations = list(_operations(clients).list_operations(parent, _ACTIVE, retry=None, timeout=TIMEOUT_S))
    workflows = [each for each in operations if each.metadata.type_url.endswith(_WORKFLOW) and not each.done]
    if not workflows:
        return []
    owned = _owned(root, {_id(each) for each in workflows}, owners) if root else set()
    return [_id(each) for each in workflows if _metadata(each).cluster_name in clusters or _id(each) in owned]


def _owned(root: str, run_ids: Collection[str], owners: Collection[str]) -> set[str]:
    """Return those of the runs that belong to these owners, by the objects in the folder of the deployment."""
    store = factory.store(urls.parse(f"{root}/runs"))
    try:
        keys = {key.rpartition("/")[2]: key for key, _ in store.names()}
        return {each for each in run_ids if each in keys and store.read(keys[each])[0].decode() in owners}
    except ObjectNotFoundError:
        return set()  # there is no such bucket, or another person deletes the folder now


def state_of(clients: Clients, run_id: str) -> RunState:
    """Return the state of a run now: that of its job, and before there is a job that of its workflow."""
    if not run_id.startswith(_PREFIX):
        return runs.state_of(clients, run_id)
    operation, metadata = _workflow(clients, run_id)
    if job_id := _job(metadata):
        return dataclasses.replace(runs.state_of(clients, job_id), run_id=run_id)
    if operation.error.code == _CANCELLED:
        return RunState(run_id, RunPhase.CANCELLED, short(operation.error.message))
    error = metadata.create_cluster.error or operation.error.message
    if error or operation.done:
        return _failed(clients, run_id, error)
    return RunState(run_id, RunPhase.WAITING, f"its cluster {metadata.cluster_name} is being made".replace("  ", " "))


def job_of(clients: Clients, run_id: str) -> str:
    """Return the id of the job of a run; "" if there is none yet."""
    return _job(_workflow(clients, run_id)[1]) if run_id.startswith(_PREFIX) else run_id


def _failed(clients: Clients, run_id: str, error: str) -> RunState:
    """Return the state of a run without a job: its cluster or one of its nodes failed."""
    if not error:
        return RunState(run_id, RunPhase.FAILED, "the workflow ended without its job")
    log = logs.of_node(clients, error)
    return RunState(run_id, RunPhase.FAILED, sentence(error), log, no_capacity=explain(error).no_capacity)


def _workflow(clients: Clients, run_id: str) -> tuple[Any, Any]:
    with runs.run_errors_translated(clients, run_id):
        operation = _operations(clients).get_operation(_name(clients, run_id), retry=None, timeout=TIMEOUT_S)
    return operation, _metadata(operation)


def _time_limit(timeout_s: int) -> dict[str, Any]:
    """Return the time limit of a workflow, which ends a driver that hangs. Dataproc accepts a day at most."""
    if timeout_s > _DAY_S:
        return {}
    return {"dag_timeout": {"seconds": min(timeout_s + _GRACE_S, _DAY_S)}}


def _operations(clients: Clients) -> Any:
    return clients.workflows.transport.operations_client


def _name(clients: Clients, run_id: str) -> str:
    return f"projects/{clients.project}/regions/{clients.region}/operations/{run_id.removeprefix(_PREFIX)}"


def _id(operation: Any) -> str:
    return _PREFIX + str(operation.name).rpartition("/")[2]


def _metadata(operation: Any) -> Any:
    from google.cloud.dataproc_v1 import WorkflowMetadata

    return WorkflowMetadata.deserialize(operation.metadata.value)


def _job(metadata: Any) -> str:
    return next((str(each.job_id) for each in metadata.graph.nodes if each.step_id == _STEP and each.job_id), "")
