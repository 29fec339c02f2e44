"""Dataproc's JobController: jobs that run a driver, whose output grows in the staging bucket, piece after piece."""

from __future__ import annotations

import threading
import uuid

from google.cloud import dataproc_v1 as dataproc

from support.dataproc_server.errors import ApiError, invalid, not_found
from support.dataproc_server.operations import paged

State = dataproc.JobStatus.State
_LINES = 20  # of a piece of the output
_FAILED = "Google Cloud Dataproc Agent reports job failure. If logs are available, they can be found at:\n"


class Jobs:
    """The jobs of one region.

    Attributes:
        driver: runs a job: driver(cluster, job, write line, cancelled event) -> exit status.
        end_state: what a job that fails ends as.
        page_size: of lists.
    """

    def __init__(self, operations, clusters, bucket, driver):
        self._operations, self._clusters, self._bucket, self.driver = operations, clusters, bucket, driver
        self.all: dict[str, dataproc.Job] = {}
        self.end_state, self.page_size = State.ERROR, 100
        self._cancelled: dict[str, threading.Event] = {}
        self._requests: dict[str, str] = {}

    def submit(self, request):
        """SubmitJob: the job at once."""
        self.submit_as_operation(request)
        return self.all[self._requests.get(request.request_id) or max(self.all, key=list(self.all).index)]

    def submit_as_operation(self, request):
        if request.request_id in self._requests:
            return self._operation(self._requests[request.request_id]).message()
        job = self._accepted(request)
        job_id = job.reference.job_id
        self.all[job_id] = job
        self._cancelled[job_id] = threading.Event()
        if request.request_id:
            self._requests[request.request_id] = job_id
        _enter(job, State.PENDING)
        metadata = dataproc.JobMetadata(job_id=job_id, status=job.status, operation_type="SUBMIT_JOB")
        parent = f"projects/{request.project_id}/regions/{request.region}"
        work = lambda: self._run(job, metadata)  # noqa: E731 - it is the operation's work
        return self._operations.start("JOB", parent, metadata, work, cancel=lambda: self._cancel(job)).message()

    def get(self, request):
        return self._existing(request.job_id)

    def list(self, request):
        matching = [job for job in self.all.values() if request.cluster_name in {"", job.placement.cluster_name}]
        for term in filter(None, request.filter.split(" AND ")):
            field, _, value = term.partition(" = ")
            matching = [job for job in matching if _value(job, field) == value]
        page, following = paged(matching, request.page_token, self.page_size)
        return dataproc.ListJobsResponse(jobs=page, next_page_token=following)

    def cancel(self, request):
        self._cancel(self._existing(request.job_id))
        return self._existing(request.job_id)

    def _accepted(self, request):
        job = dataproc.Job(request.job)
        cluster = self._clusters._existing(job.placement.cluster_name)
        if cluster.status.state != dataproc.ClusterStatus.State.RUNNING:
            raise ApiError("FAILED_PRECONDITION", f"Cluster {cluster.cluster_name} is {cluster.status.state.name}")
        if dataproc.Job.pb(job).WhichOneof("type_job") != "pyspark_job":
            raise invalid("Only PySpark jobs run here")
        if not job.pyspark_job.main_python_file_uri.startswith(("gs://", "file://")):
            raise invalid(f"Not a URI of a file: {job.pyspark_job.main_python_file_uri}")
        job.reference.job_id = job.reference.job_id or uuid.uuid4().hex
        if job.reference.job_id in self.all:
            raise ApiError("ALREADY_EXISTS", f"Already exists: Job {job.reference.job_id}")
        job.job_uuid, job.reference.project_id = str(uuid.uuid4()), request.project_id
        job.placement.cluster_uuid = cluster.cluster_uuid
        return job

    def _run(self, job, metadata):
        cluster = self._clusters._existing(job.placement.cluster_name)
        staging = cluster.config.config_bucket or self._bucket.name
        key = f"google-cloud-dataproc-metainfo/{cluster.cluster_uuid}/jobs/{job.reference.job_id}/driveroutput"
        job.driver_output_resource_uri = f"gs://{staging}/{key}"
        for state in (State.SETUP_DONE, State.RUNNING):
            _enter(job, state)
            metadata.status = job.status
        pieces = _Pieces(self._bucket.client.bucket(staging), key)
        cancelled = self._cancelled[job.reference.job_id]
        status = self.driver(cluster, job, pieces.write, cancelled)
        pieces.close()
        self._end(job, metadata, status, cancelled.is_set())
        return job

    def _end(self, job, metadata, status, cancelled):
        if cancelled:
            _enter(job, State.CANCELLED)
        elif status:
            _enter(job, self.end_state, details=f"{_FAILED}{job.driver_output_resource_uri}")
        else:
            _enter(job, State.DONE)
        job.done, metadata.status = True, job.status
        if job.status.state == State.ERROR:
            raise ApiError("ABORTED", job.status.details)

    def _cancel(self, job):
        if job.done:
            raise ApiError("FAILED_PRECONDITION", f"Job {job.reference.job_id} is {job.status.state.name}")
        _enter(job, State.CANCEL_PENDING)
        self._cancelled[job.reference.job_id].set()

    def _existing(self, job_id):
        if job_id not in self.all:
            raise not_found("Job", f"projects/p/regions/r/jobs/{job_id}")
        return self.all[job_id]

    def _operation(self, job_id):
        return next(each for each in self._operations.all("JOB") if each.metadata.job_id == job_id)


class _Pieces:
    """The driver's output: an object that grows while it has few lines, and then the next one."""

    def __init__(self, bucket, key):
        self._bucket, self._key, self._lines, self._number = bucket, key, [], 0

    def write(self, line):
        self._lines.append(line)
        blob = self._bucket.blob(f"{self._key}.{self._number:09d}")
        blob.upload_from_string("".join(self._lines))
        if len(self._lines) == _LINES:
            self._lines, self._number = [], self._number + 1

    def close(self):
        """An object of no bytes is the end: gcloud stops to read there."""
        self._bucket.blob(f"{self._key}.{self._number + bool(self._lines):09d}").upload_from_string("")


def _value(job, field):
    """What a term of a filter asks for."""
    if field == "status.state":
        return "NON_ACTIVE" if job.done else "ACTIVE"
    if not field.startswith("labels."):
        raise invalid(f"Invalid filter: {field}")
    return job.labels.get(field.removeprefix("labels."))


def _enter(job, state, *, details=""):
    if job.status.state:
        job.status_history.append(job.status)
    job.status = dataproc.JobStatus(state=state, details=details)
