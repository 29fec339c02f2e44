"""A run on a cluster of its own: a workflow of one job, whose cluster Dataproc makes and deletes by itself. Laptop.

So the cluster ends with the run, also where the laptop is gone. The id of such a run is that of the workflow's
operation; once the job is there, the run is the job. An object of that name in the folder of the run says whose it is:
in its first seconds Dataproc tells no cluster of a workflow.
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
_LONGEST = 35  # characters of a prefix, to which Dataproc adds its own
_STEP = "run"
_DAY_S = 24 * 3600
_GRACE_S = 600  # for the end of the job by itself; also the least that Dataproc takes
_CANCELLED = 1  # google.rpc.Code of an operation that was cancelled


def submit(clients: Clients, request: RunRequest, cluster: Mapping[str, Any], owner: str) -> str:
    """Send the source and start the workflow; with the same token it is the same one. Returns the id of the run.

    Args:
        clients: of the project and region.
        request: what runs.
        cluster: its definition, as in a request that creates it.
        owner: whose run it is.
    """
    labels = {key: value for key, value in cluster["labels"].items() if key != TAG} | {runs.LABEL: request.name}
    managed = {"cluster_name": request.name[:_LONGEST].rstrip("-"), "config": cluster["config"], "labels": labels}
    template: dict[str, Any] = {"placement": {"managed_cluster": managed}}
    template |= {"jobs": [runs.send(request) | {"step_id": _STEP}], **_bound(request.timeout_s)}
    body = {
        "parent": f"projects/{clients.project}/regions/{clients.region}",
        "template": template,
        "request_id": request.token,
    }
    with translated():
        operation = clients.workflows.instantiate_inline_workflow_template(request=body, retry=None, timeout=TIMEOUT_S)
    run_id = _id(operation.operation)
    with suppress(ChangedError):  # our first try was heard
        factory.store(urls.parse(runs.folder_of(request))).write(run_id, owner.encode(), replaces=None)
    return run_id


def cancel(clients: Clients, run_id: str) -> None:
    """Ask for the end of a run, and with it of its own cluster; one that ended or is gone stays as it is."""
    from google.api_core.exceptions import FailedPrecondition, NotFound

    if not run_id.startswith(_PREFIX):
        runs.cancel(clients, run_id)
        return
    with suppress(FailedPrecondition, NotFound), translated(but=(FailedPrecondition, NotFound)):
        _operations(clients).cancel_operation(_name(clients, run_id), retry=None, timeout=TIMEOUT_S)


def active(clients: Clients, clusters: Collection[str], root: str, owners: Collection[str]) -> list[str]:
    """The ids of the workflows that go on now, of these owners.

    Args:
        clients: of the project and region.
        clusters: the names of the owners' own clusters that are there.
        root: address of the folder of the deployment, for workflows that have no cluster yet; "" where nobody said it.
        owners: whose runs.
    """
    parent = f"projects/{clients.project}/regions/{clients.region}/operations"
    with translated():
        listed = _operations(clients).list_operations(parent, "status.state = ACTIVE", retry=None, timeout=TIMEOUT_S)
        workflows = [each for each in listed if each.metadata.type_url.endswith(".WorkflowMetadata") and not each.done]
    if not workflows:
        return []
    noted = _noted(root, {_id(each) for each in workflows}, owners) if root else set()
    return [_id(each) for each in workflows if _metadata(each).cluster_name in clusters or _id(each) in noted]


def _noted(root: str, run_ids: Collection[str], owners: Collection[str]) -> set[str]:
    """Those of the runs that the folder of a deployment names as the owners'."""
    store = factory.store(urls.parse(f"{root}/runs"))
    try:
        keys = {key.rpartition("/")[2]: key for key, _ in store.names()}
        return {each for each in run_ids if each in keys and store.read(keys[each])[0].decode() in owners}
    except ObjectNotFoundError:
        return set()  # there is no such bucket, or somebody deletes the folder now


def state_of(clients: Clients, run_id: str) -> RunState:
    """A run now: of its job, and before that of its workflow."""
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
    """The id of the job of a run; "" where there is none yet."""
    return _job(_workflow(clients, run_id)[1]) if run_id.startswith(_PREFIX) else run_id


def _failed(clients: Clients, run_id: str, error: str) -> RunState:
    """A run without a job: its cluster could not be had, or a node of it could not be prepared."""
    if not error:
        return RunState(run_id, RunPhase.FAILED, "the workflow ended without its job")
    log = logs.of_node(clients, error)
    return RunState(run_id, RunPhase.FAILED, sentence(error), log, no_capacity=explain(error).no_capacity)


def _workflow(clients: Clients, run_id: str) -> tuple[Any, Any]:
    with runs.found(clients, run_id):
        operation = _operations(clients).get_operation(_name(clients, run_id), retry=None, timeout=TIMEOUT_S)
    return operation, _metadata(operation)


def _bound(timeout_s: int) -> dict[str, Any]:
    """When Dataproc ends what did not end by itself, such as a driver that hangs. It takes a day at most."""
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
