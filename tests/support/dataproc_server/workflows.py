"""Dataproc's WorkflowTemplateService: a template that is run at once, on a cluster that is made and deleted for it."""

from __future__ import annotations

import threading
import uuid

from google.cloud import dataproc_v1 as dataproc
from google.protobuf import empty_pb2

from support.dataproc_server.errors import ApiError, invalid
from support.dataproc_server.operations import Operation

State = dataproc.WorkflowMetadata.State
_BOUND_S = (600, 86400)


class Workflows:
    """The workflows of one region."""

    def __init__(self, operations, clusters, jobs):
        self._operations, self._clusters, self._jobs = operations, clusters, jobs
        self._requests: dict[str, Operation] = {}

    def instantiate_inline(self, request):
        known = self._requests.get(request.request_id)
        if known and not known.finished.is_set():  # only concurrent ones are prevented
            return known.message()
        managed = request.template.placement.managed_cluster
        if not 2 <= len(managed.cluster_name) <= 35 or not request.template.jobs:
            raise invalid("A managed cluster has a prefix of 2 to 35 characters, and a template has jobs")
        bound = request.template.dag_timeout
        if bound and not _BOUND_S[0] <= bound.total_seconds() <= _BOUND_S[1]:
            raise invalid(f"dag_timeout is {_BOUND_S[0]} to {_BOUND_S[1]} seconds, not {bound}")
        name = f"{managed.cluster_name}-{uuid.uuid4().hex[:13]}"
        nodes = [dataproc.WorkflowNode(step_id=each.step_id) for each in request.template.jobs]
        metadata = dataproc.WorkflowMetadata(
            state=State.PENDING, graph=dataproc.WorkflowGraph(nodes=nodes), dag_timeout=bound
        )
        cancelled = threading.Event()
        operation = self._operations.start(
            "WORKFLOW",
            request.parent,
            metadata,
            lambda: self._run(request, name, metadata, cancelled),
            cancel=lambda: self._cancel(metadata, cancelled),
        )
        self._requests[request.request_id] = operation
        return operation.message()

    def _cancel(self, metadata, cancelled):
        """The cluster that is being made is finished first, and then deleted."""
        cancelled.set()
        for node in metadata.graph.nodes:
            if node.job_id and not self._jobs.all[node.job_id].done:
                self._jobs._cancel(self._jobs.all[node.job_id])

    def _run(self, request, name, metadata, cancelled):
        project, region = request.parent.split("/")[1::2]
        place = {"project_id": project, "region": region}
        managed = request.template.placement.managed_cluster
        metadata.cluster_name, metadata.state = name, State.RUNNING  # only now: a client that lists workflows sees none
        try:
            _check(cancelled)
            cluster = {"cluster_name": name, "config": managed.config, "labels": managed.labels}
            self._done(self._clusters.create(dataproc.CreateClusterRequest(cluster=cluster, **place)))
            for step, node in zip(request.template.jobs, metadata.graph.nodes, strict=True):
                _check(cancelled)
                job = {"placement": {"cluster_name": name}, "pyspark_job": step.pyspark_job, "labels": step.labels}
                job["reference"] = {"job_id": uuid.uuid4().hex}
                started = self._jobs.submit_as_operation(dataproc.SubmitJobRequest(job=job, **place))
                node.job_id = job["reference"]["job_id"]
                if cancelled.is_set():  # meanwhile
                    self._cancel(metadata, cancelled)
                self._done(started)
            _check(cancelled)
        finally:
            if name in self._clusters.all:
                self._done(self._clusters.delete(dataproc.DeleteClusterRequest(cluster_name=name, **place)))
            metadata.state = State.DONE
        return empty_pb2.Empty()

    def _done(self, started):
        operation = self._operations._existing(started.name)
        assert operation.finished.wait(300)
        if (error := operation.message().error).code:
            raise ApiError("ABORTED", error.message)


def _check(cancelled):
    if cancelled.is_set():
        raise ApiError("CANCELLED", "The workflow was cancelled.")
