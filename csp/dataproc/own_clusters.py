"""A run on a cluster of its own: a workflow of one job, whose cluster Dataproc makes and deletes by itself. Laptop.

So the cluster ends with the run, also where the laptop is gone. The id of such a run is that of the workflow's
operation; once the job is there, the run is the job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from csp.cloud import TAG, RunPhase, RunRequest, RunState
from csp.dataproc import runs
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from csp.dataproc.failures import sentence

_PREFIX = "workflow-"
_LONGEST = 35  # characters of a prefix, to which Dataproc adds its own
_STEP = "run"


def submit(clients: Clients, request: RunRequest, cluster: Mapping[str, Any]) -> str:
    """Send the source and start the workflow; with the same token it is the same one. Returns the id of the run.

    cluster: its definition, as in a request that creates it.
    """
    labels = {key: value for key, value in cluster["labels"].items() if key != TAG}
    managed = {"cluster_name": request.name[:_LONGEST].rstrip("-"), "config": cluster["config"], "labels": labels}
    template = {"placement": {"managed_cluster": managed}, "jobs": [runs.send(request) | {"step_id": _STEP}]}
    body = {
        "parent": f"projects/{clients.project}/regions/{clients.region}",
        "template": template,
        "request_id": request.token,
    }
    with translated():
        operation = clients.workflows.instantiate_inline_workflow_template(request=body, retry=None, timeout=TIMEOUT_S)
    return _PREFIX + str(operation.operation.name).rpartition("/")[2]


def state_of(clients: Clients, run_id: str) -> RunState:
    """A run now: of its job, and before that of its workflow."""
    if not run_id.startswith(_PREFIX):
        return runs.state_of(clients, run_id)
    operation, metadata = _workflow(clients, run_id)
    if job_id := _job(metadata):
        return dataclasses.replace(runs.state_of(clients, job_id), run_id=run_id)
    error = metadata.create_cluster.error or operation.error.message
    if error or operation.done:
        return RunState(run_id, RunPhase.FAILED, sentence(error) if error else "the workflow ended without its job")
    return RunState(run_id, RunPhase.WAITING, f"cluster {metadata.cluster_name} is being made")


def job_of(clients: Clients, run_id: str) -> str:
    """The id of the job of a run; "" where there is none yet."""
    return _job(_workflow(clients, run_id)[1]) if run_id.startswith(_PREFIX) else run_id


def _workflow(clients: Clients, run_id: str) -> tuple[Any, Any]:
    from google.cloud.dataproc_v1 import WorkflowMetadata

    number = run_id.removeprefix(_PREFIX)
    name = f"projects/{clients.project}/regions/{clients.region}/operations/{number}"
    with translated():
        operation = clients.workflows.transport.operations_client.get_operation(name, retry=None, timeout=TIMEOUT_S)
    return operation, WorkflowMetadata.deserialize(operation.metadata.value)


def _job(metadata: Any) -> str:
    return next((str(each.job_id) for each in metadata.graph.nodes if each.step_id == _STEP and each.job_id), "")
