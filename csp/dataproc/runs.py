"""Run notebooks and Python files as PySpark jobs, and read their state and results. Laptop.

A run has a folder in the bucket, beside its results: RESULTS.run/. It holds the source, the main file of the job
(`main/job_main.py`), and after the run how it ended and the executed notebook. The arguments of the job name the
folder, so any laptop can read it.
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

_MAIN_FILE = Path(__file__).with_name("job_main.py")
_MAIN_KEY = f"main/{_MAIN_FILE.name}"
LABEL = "spark-sidecar-run"  # of a job, and of a cluster of its own -> the name of the deployment
_ENDED, _EXECUTED = "ended.json", "executed/"
_PHASES = {
    "RUNNING": RunPhase.RUNNING,
    "CANCEL_PENDING": RunPhase.RUNNING,
    "CANCEL_STARTED": RunPhase.RUNNING,
    "ATTEMPT_FAILURE": RunPhase.FAILED,  # Dataproc restarts some jobs after a failure, but not ours
    "DONE": RunPhase.SUCCEEDED,
    "ERROR": RunPhase.FAILED,
    "CANCELLED": RunPhase.CANCELLED,
}
_MASTER_FULL = "Task not acquired"


def submit(clients: Clients, request: RunRequest, cluster: str) -> str:
    """Send the source, submit the job and return its id. The same token starts no second job."""
    job = send(request) | {
        "reference": {"project_id": clients.project, "job_id": f"{request.name}-{request.token}"},
        "placement": {"cluster_name": cluster},
    }
    body = {"project_id": clients.project, "region": clients.region, "job": job, "request_id": request.token}
    with translated():
        operation = clients.jobs.submit_job_as_operation(request=body, retry=None, timeout=TIMEOUT_S)
        return str(operation.metadata.job_id)


def send(request: RunRequest) -> dict[str, Any]:
    """Send the source and the main file of the job, and return the definition of the job."""
    folder = folder_of(request)
    store = factory.store(urls.parse(folder))
    store.upload(request.source.name, request.source)
    store.upload(_MAIN_KEY, _MAIN_FILE)  # in a folder of its own: a source may have the same name
    arguments = [folder, request.source.name, str(request.timeout_s), json.dumps(dict(request.parameters))]
    return {
        "pyspark_job": {"main_python_file_uri": f"{folder}/{_MAIN_KEY}", "args": arguments},
        "labels": {LABEL: request.name},
    }


def folder_of(request: RunRequest) -> str:
    """Return the address of the folder of a run, with its source and its end."""
    return f"{request.results}.run"


def cancel(clients: Clients, run_id: str) -> None:
    """Cancel a job. A job that ended or does not exist is no error."""
    from google.api_core.exceptions import FailedPrecondition, NotFound

    query = {"project_id": clients.project, "region": clients.region, "job_id": run_id}
    with suppress(FailedPrecondition, NotFound), translated(but=(FailedPrecondition, NotFound)):
        clients.jobs.cancel_job(request=query, retry=None, timeout=TIMEOUT_S)


def active(clients: Clients, name: str, clusters: Collection[str]) -> list[str]:
    """Return the ids of the active jobs of a deployment on the clusters with these UUIDs."""
    query = {"project_id": clients.project, "region": clients.region}
    query["filter"] = f"status.state = ACTIVE AND labels.{LABEL} = {name}"
    with translated():
        active_jobs = list(clients.jobs.list_jobs(request=query, retry=None, timeout=TIMEOUT_S))
    return [str(job.reference.job_id) for job in active_jobs if job.placement.cluster_uuid in clusters]


def state_of(clients: Clients, run_id: str) -> RunState:
    """Return the state of a run now. Raises DeploymentError if there is no such run."""
    job = _job(clients, run_id)
    word, ended = job.status.state.name, dict[str, str]()
    phase = _PHASES.get(word, RunPhase.WAITING)
    if phase in {RunPhase.FAILED, RunPhase.SUCCEEDED}:
        ended = _ended(job)
        phase = RunPhase.TIMED_OUT if ended.get("phase") == RunPhase.TIMED_OUT else phase
    page = f"https://console.cloud.google.com/dataproc/jobs/{run_id}?region={clients.region}&project={clients.project}"
    return RunState(run_id, phase, _detail(job, word), ended.get("error", ""), _folder(job).removesuffix(".run"), page)


def printed(clients: Clients, job: Any) -> str:
    """Return the output of a job's driver so far. It is a sequence of objects, of which the last one grows."""
    return "".join(text.decode(errors="replace") for text in _pieces(clients, job.driver_output_resource_uri))


def output_of(clients: Clients, run_id: str) -> str:
    """Return the output of a run so far."""
    return printed(clients, _job(clients, run_id))


def executed(clients: Clients, run_id: str) -> dict[str, bytes]:
    """Return the executed notebook; nothing for a program."""
    store = _store(_job(clients, run_id))
    names = sorted(name for name, _ in store.names() if name.startswith(_EXECUTED))
    return {name.removeprefix(_EXECUTED): store.read(name)[0] for name in names}


def jobs_of(clients: Clients, cluster: str, uuid: str) -> list[Any]:
    """Return the jobs of a cluster, without those of an older cluster of the same name."""
    query = {"project_id": clients.project, "region": clients.region, "cluster_name": cluster}
    with translated():
        jobs = list(clients.jobs.list_jobs(request=query, retry=None, timeout=TIMEOUT_S))
    return [job for job in jobs if job.placement.cluster_uuid == uuid]


@contextmanager
def run_errors_translated(clients: Clients, run_id: str) -> Iterator[None]:
    """Translate the clients' errors into ours, for a request about a run that may not exist."""
    from google.api_core.exceptions import NotFound

    try:
        with translated(but=NotFound):
            yield
    except NotFound:
        message = f"there is no run {run_id!r} in {clients.project}, {clients.region}; Google forgets old ones"
        raise DeploymentError(message, Exit.NOT_FOUND) from None


def _job(clients: Clients, run_id: str) -> Any:
    query = {"project_id": clients.project, "region": clients.region, "job_id": run_id}
    with run_errors_translated(clients, run_id):
        return clients.jobs.get_job(request=query, retry=None, timeout=TIMEOUT_S)


def _pieces(clients: Clients, address: str) -> Iterator[bytes]:
    if not address:
        return
    place = urls.parse(address)
    with translated():
        blobs = list(clients.storage.list_blobs(place.bucket, prefix=f"{place.path}.", retry=None, timeout=TIMEOUT_S))
        for blob in sorted(blobs, key=lambda each: each.name):
            yield blob.download_as_bytes(retry=None, timeout=TIMEOUT_S)


def _detail(job: Any, word: str) -> str:
    details = short(job.status.details)
    if _MASTER_FULL in details:
        details += ": the master's memory is used up; wait for other jobs, or take a larger master"
    return f"{word} {details}".strip()


def _ended(job: Any) -> dict[str, str]:
    """Return how the run ended, as `job_main.py` wrote it; nothing if it could not write it, such as after a kill."""
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
