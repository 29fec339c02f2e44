"""Runs of notebooks and Python files as PySpark jobs, and what is kept of them. Laptop.

A run has a folder in the bucket, beside its results: RESULTS.run/. It holds the source, `main/job_main.py`, which is
the main file of the job, and later how it ended and the executed notebook. All that is known of a run later is in the
arguments of its job, so that any laptop finds it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from csp.cloud import Exit, RunPhase, RunRequest, RunState
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from csp.dataproc.failures import short
from server_utils.errors import DeploymentError
from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ObjectNotFoundError, Store

_RUNNER = Path(__file__).with_name("job_main.py")
_MAIN = f"main/{_RUNNER.name}"
LABEL = "spark-sidecar-run"  # of a job, and of a cluster of its own -> the name of the deployment
_ENDED, _EXECUTED = "ended.json", "executed/"
_PHASES = {
    "RUNNING": RunPhase.RUNNING,
    "CANCEL_PENDING": RunPhase.RUNNING,
    "CANCEL_STARTED": RunPhase.RUNNING,
    "ATTEMPT_FAILURE": RunPhase.FAILED,  # of a job that may be tried again: ours are not
    "DONE": RunPhase.SUCCEEDED,
    "ERROR": RunPhase.FAILED,
    "CANCELLED": RunPhase.CANCELLED,
}
_MASTER_FULL = "Task not acquired"


def submit(clients: Clients, request: RunRequest, cluster: str) -> str:
    """Send the source and submit the job; with the same token it is the same job. Returns its id."""
    job = send(request) | {
        "reference": {"project_id": clients.project, "job_id": f"{request.name}-{request.token}"},
        "placement": {"cluster_name": cluster},
    }
    body = {"project_id": clients.project, "region": clients.region, "job": job, "request_id": request.token}
    with translated():
        operation = clients.jobs.submit_job_as_operation(request=body, retry=None, timeout=TIMEOUT_S)
        return str(operation.metadata.job_id)


def send(request: RunRequest) -> dict[str, Any]:
    """Send the source and the main file of the job. Returns what the job does."""
    folder = folder_of(request)
    store = factory.store(urls.parse(folder))
    store.upload(request.source.name, request.source)
    store.upload(_MAIN, _RUNNER)  # in a folder of its own: a source may have its name
    arguments = [folder, request.source.name, str(request.timeout_s), json.dumps(dict(request.parameters))]
    return {
        "pyspark_job": {"main_python_file_uri": f"{folder}/{_MAIN}", "args": arguments},
        "labels": {LABEL: request.name},
    }


def folder_of(request: RunRequest) -> str:
    """Address of the folder of a run: its source, and what is kept of it."""
    return f"{request.results}.run"


def cancel(clients: Clients, run_id: str) -> None:
    """Ask for the end of a job; one that ended, or that is not there, stays as it is."""
    from google.api_core.exceptions import FailedPrecondition, NotFound

    query = {"project_id": clients.project, "region": clients.region, "job_id": run_id}
    with suppress(FailedPrecondition, NotFound), translated(but=(FailedPrecondition, NotFound)):
        clients.jobs.cancel_job(request=query, retry=None, timeout=TIMEOUT_S)


def active(clients: Clients, name: str, clusters: Collection[str]) -> list[str]:
    """The ids of the jobs of a deployment that go on now, on the clusters with these UUIDs."""
    query = {"project_id": clients.project, "region": clients.region}
    query["filter"] = f"status.state = ACTIVE AND labels.{LABEL} = {name}"
    with translated():
        listed = list(clients.jobs.list_jobs(request=query, retry=None, timeout=TIMEOUT_S))
    return [str(job.reference.job_id) for job in listed if job.placement.cluster_uuid in clusters]


def state_of(clients: Clients, run_id: str) -> RunState:
    """A run now. Raises DeploymentError where there is none."""
    job = _job(clients, run_id)
    word, ended = job.status.state.name, dict[str, str]()
    phase = _PHASES.get(word, RunPhase.WAITING)
    if phase in {RunPhase.FAILED, RunPhase.SUCCEEDED}:
        ended = _ended(job)
        phase = RunPhase.TIMED_OUT if ended.get("phase") == RunPhase.TIMED_OUT else phase
    page = f"https://console.cloud.google.com/dataproc/jobs/{run_id}?region={clients.region}&project={clients.project}"
    return RunState(run_id, phase, _detail(job, word), ended.get("error", ""), _folder(job).removesuffix(".run"), page)


def printed(clients: Clients, job: Any) -> str:
    """What the driver of a job printed so far: objects that grow while they are the last one."""
    return "".join(text.decode(errors="replace") for text in _pieces(clients, job.driver_output_resource_uri))


def output_of(clients: Clients, run_id: str) -> str:
    """What a run printed so far."""
    return printed(clients, _job(clients, run_id))


def executed(clients: Clients, run_id: str) -> dict[str, bytes]:
    """The executed notebook; nothing for a program."""
    store = _store(_job(clients, run_id))
    names = sorted(name for name, _ in store.names() if name.startswith(_EXECUTED))
    return {name.removeprefix(_EXECUTED): store.read(name)[0] for name in names}


def jobs_of(clients: Clients, cluster: str, uuid: str) -> list[Any]:
    """The jobs of a cluster, and not those of an older one of its name."""
    query = {"project_id": clients.project, "region": clients.region, "cluster_name": cluster}
    with translated():
        listed = list(clients.jobs.list_jobs(request=query, retry=None, timeout=TIMEOUT_S))
    return [job for job in listed if job.placement.cluster_uuid == uuid]


@contextmanager
def found(clients: Clients, run_id: str) -> Iterator[None]:
    """The clients' errors as ours, for a request about a run that may not be there."""
    from google.api_core.exceptions import NotFound

    try:
        with translated(but=NotFound):
            yield
    except NotFound:
        message = f"there is no run {run_id!r} in {clients.project}, {clients.region}; Google forgets old ones"
        raise DeploymentError(message, Exit.NOT_FOUND) from None


def _job(clients: Clients, run_id: str) -> Any:
    query = {"project_id": clients.project, "region": clients.region, "job_id": run_id}
    with found(clients, run_id):
        return clients.jobs.get_job(request=query, retry=None, timeout=TIMEOUT_S)


def _pieces(clients: Clients, address: str) -> Iterator[bytes]:
    if not address:
        return
    bucket, _, key = address.removeprefix("gs://").partition("/")
    with translated():
        blobs = list(clients.storage.list_blobs(bucket, prefix=f"{key}.", retry=None, timeout=TIMEOUT_S))
        for blob in sorted(blobs, key=lambda each: each.name):
            yield blob.download_as_bytes(retry=None, timeout=TIMEOUT_S)


def _detail(job: Any, word: str) -> str:
    details = short(job.status.details)
    if _MASTER_FULL in details:
        details += ": the master's memory is used up; wait for other jobs, or take a larger master"
    return f"{word} {details}".strip()


def _ended(job: Any) -> dict[str, str]:
    """How the run ended by its own account; nothing where it could not write that, as after a kill."""
    try:
        content: dict[str, str] = json.loads(_store(job).read(_ENDED)[0])
    except ObjectNotFoundError:
        return {}
    return content


def _store(job: Any) -> Store:
    if not (folder := _folder(job)):
        raise DeploymentError(f"the job {job.reference.job_id} is no run of ours: it has no folder of results")
    return factory.store(urls.parse(folder))


def _folder(job: Any) -> str:
    arguments = list(job.pyspark_job.args)
    return arguments[0] if arguments and arguments[0].endswith(".run") else ""
