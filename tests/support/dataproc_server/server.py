"""Dataproc's API on loopback, from the library's own types: ClusterController, JobController and Operations by gRPC.

It refuses what the service refuses, ends operations late, keeps broken clusters, and runs what it is given. A test says
what goes wrong with `fail`, `away` and the attributes of `clusters`, `jobs` and `compute`. `rest.py` is the REST face.
"""

from __future__ import annotations

import threading
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.grpc import AuthMetadataPlugin
from google.auth.transport.requests import Request
from google.cloud import dataproc_v1 as dataproc
from google.cloud import storage
from google.longrunning import operations_pb2
from grpc_status import rpc_status

from support.dataproc_server.clusters import Clusters
from support.dataproc_server.compute import Compute
from support.dataproc_server.errors import ApiError, invalid
from support.dataproc_server.jobs import Jobs
from support.dataproc_server.operations import Operations
from support.dataproc_server.rest import Rest
from support.dataproc_server.storage import Storage
from support.dataproc_server.workflows import Workflows

PROJECT, REGION = "project-1", "us-central1"
NODES_ACCOUNT = f"nodes@{PROJECT}.iam.gserviceaccount.com"
_PACKAGE = "google.cloud.dataproc.v1"


@dataclass
class Fault:
    """An error that the next calls of a method get. late: the call is done, and only its answer is lost."""

    error: ApiError
    times: int
    late: bool


def ready(cluster, role, workers, action):
    """A node whose initialization action does nothing."""
    return 0, f"spark-sidecar: ready for {cluster.config.gce_cluster_config.metadata['framework']}\n"


def nothing(cluster, job, write, cancelled):
    """A driver that prints one line."""
    write("done\n")
    return 0


class DataprocServer:
    """One project and region. storage_port: of a server for Google Cloud Storage; bucket: a name there."""

    def __init__(self, storage_port, bucket, *, nodes=ready, driver=nothing):
        options = {"api_endpoint": f"http://127.0.0.1:{storage_port}"}
        client = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)
        self.bucket = client.bucket(bucket)
        self.compute = Compute(PROJECT)
        self.storage = Storage(storage_port, self.compute.email, PROJECT)
        self.storage_url = self.storage.url
        self.operations = Operations()
        self.clusters = Clusters(self.operations, self.compute, self.bucket, nodes)
        self.jobs = Jobs(self.operations, self.clusters, self.bucket, driver)
        self.workflows = Workflows(self.operations, self.clusters, self.jobs)
        self.calls: list[str] = []
        self.on_call = lambda name: None  # of a method, before it is answered
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.RLock()
        self._methods = _methods(self)
        self.rest = Rest(self._methods, self._called)
        self.port = self.secure_port = 0
        self._start()

    def object_names(self):
        """The names of all objects in the bucket, sorted."""
        return sorted(blob.name for blob in self.bucket.list_blobs())

    @property
    def environ(self):
        """What tells clients of the servers: the emulators of the libraries, and gcloud's addresses of APIs."""
        services = ("SERVICEUSAGE", "CLOUDRESOURCEMANAGER", "IAM", "LOGGING", "OAUTH2")
        return {
            "DATAPROC_EMULATOR_HOST": f"127.0.0.1:{self.port}",
            "STORAGE_EMULATOR_HOST": self.storage_url,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CLOUDSDK_DATAPROC_REGION": REGION,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.compute.url}/compute/v1/",
        } | {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{self.compute.url}/" for name in services}

    def fail(self, method, error, *, times=1, late=False):
        """Have the next calls of a method, such as "CreateCluster", end with an error."""
        self._faults.setdefault(method, []).append(Fault(error, times, late))

    def signed_in(self, credentials):
        """A client of clusters that sends credentials, as only a secure channel does."""
        calls = grpc.metadata_call_credentials(AuthMetadataPlugin(credentials, Request()))
        secure = grpc.composite_channel_credentials(grpc.local_channel_credentials(), calls)
        channel = grpc.secure_channel(f"127.0.0.1:{self.secure_port}", secure)
        client = dataproc.ClusterControllerClient
        return client(transport=client.get_transport_class("grpc")(channel=channel))

    @contextmanager
    def away(self):
        """Nobody listens, and open connections are dropped."""
        self._grpc.stop(None).wait()
        try:
            yield
        finally:
            self._start()

    def close(self):
        self._grpc.stop(None).wait()
        self.compute.close()
        self.storage.close()
        self.rest.close()

    def _start(self):
        self._grpc = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        for service, methods in self._methods.items():
            handlers = {name: self._handler(name, *each) for name, each in methods.items()}
            self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._grpc.add_insecure_port(f"127.0.0.1:{self.port}")
        self.secure_port = self._grpc.add_secure_port(f"127.0.0.1:{self.secure_port}", grpc.local_server_credentials())
        self._grpc.start()

    def _handler(self, name, parse, function):
        def answer(request, context):
            try:
                return self._answer(name, request, function)
            except ApiError as error:
                context.abort_with_status(rpc_status.to_status(error.status))

        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=parse, response_serializer=_serialized)

    def _called(self, name, request):
        (function,) = (methods[name][1] for methods in self._methods.values() if name in methods)
        return self._answer(name, request, function)

    def _answer(self, name, request, function):
        self.calls.append(name)
        self.on_call(name)
        fault = self._fault(name)
        if fault and not fault.late:
            raise fault.error
        _check_place(request)
        with self._lock:
            answer = function(request)
        if fault:
            raise fault.error
        return answer

    def _fault(self, name):
        for fault in self._faults.get(name, []):
            if fault.times > 0:
                fault.times -= 1
                return fault
        return None


def _check_place(request):
    if getattr(request, "project_id", PROJECT) != PROJECT:
        raise ApiError("PERMISSION_DENIED", f"Project '{request.project_id}' not found or permission denied.")
    if getattr(request, "region", REGION) != REGION:
        raise invalid(f"Region '{request.region}' is not served here; use the endpoint of the region")


def _serialized(message):
    return type(message).serialize(message) if hasattr(type(message), "serialize") else message.SerializeToString()


def _methods(server):
    """Service -> method -> (parser of the request, function)."""
    clusters, jobs, operations = server.clusters, server.jobs, server.operations
    return {
        f"{_PACKAGE}.ClusterController": {
            "CreateCluster": (dataproc.CreateClusterRequest.deserialize, clusters.create),
            "GetCluster": (dataproc.GetClusterRequest.deserialize, clusters.get),
            "ListClusters": (dataproc.ListClustersRequest.deserialize, clusters.list),
            "UpdateCluster": (dataproc.UpdateClusterRequest.deserialize, clusters.update),
            "StartCluster": (dataproc.StartClusterRequest.deserialize, clusters.start),
            "DeleteCluster": (dataproc.DeleteClusterRequest.deserialize, clusters.delete),
        },
        f"{_PACKAGE}.JobController": {
            "SubmitJob": (dataproc.SubmitJobRequest.deserialize, jobs.submit),
            "SubmitJobAsOperation": (dataproc.SubmitJobRequest.deserialize, jobs.submit_as_operation),
            "GetJob": (dataproc.GetJobRequest.deserialize, jobs.get),
            "ListJobs": (dataproc.ListJobsRequest.deserialize, jobs.list),
            "CancelJob": (dataproc.CancelJobRequest.deserialize, jobs.cancel),
        },
        f"{_PACKAGE}.WorkflowTemplateService": {
            "InstantiateInlineWorkflowTemplate": (
                dataproc.InstantiateInlineWorkflowTemplateRequest.deserialize,
                server.workflows.instantiate_inline,
            ),
        },
        "google.longrunning.Operations": {
            "GetOperation": (operations_pb2.GetOperationRequest.FromString, operations.get),
            "WaitOperation": (operations_pb2.WaitOperationRequest.FromString, operations.wait),
            "ListOperations": (operations_pb2.ListOperationsRequest.FromString, operations.list),
            "CancelOperation": (operations_pb2.CancelOperationRequest.FromString, operations.cancel),
        },
    }
