"""Dataproc's ClusterController: what it refuses, in which order things happen, and what stays after a failure."""

from __future__ import annotations

import re
import uuid

from google.cloud import dataproc_v1 as dataproc
from google.protobuf import empty_pb2

from support.dataproc_server.errors import ApiError, invalid, not_found, quota
from support.dataproc_server.operations import paged

State = dataproc.ClusterStatus.State
OperationState = dataproc.ClusterOperationStatus.State
_NAME = re.compile("[a-z]([-a-z0-9]{0,49}[a-z0-9])?")
_LABEL = (re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}"))
_PREFIXES = {"spark", "yarn", "dataproc", "core", "hdfs", "mapred", "hive", "spark-env"}
_IMAGES = {"2.2-ubuntu22", "2.3-ubuntu22", "2.3-ml-ubuntu22"}
_SUBMINOR = ".14-"  # the service answers with the image that a version means now
_IDLE_S = range(5 * 60, 14 * 24 * 3600 + 1)
_ZERO_WORKERS = "dataproc:dataproc.allow.zero.workers"


class Clusters:
    """The clusters of one project and region.

    Attributes:
        nodes: prepares a node: nodes(cluster, role, number of workers, action) -> (exit status, output).
        stocked_out: zone -> the error that a creation there ends with.
        lost: how many of the workers never join YARN.
        page_size: of lists, whatever larger one a client asks for.
    """

    def __init__(self, operations, compute, bucket, nodes):
        self.operations, self._compute, self._bucket, self.nodes = operations, compute, bucket, nodes
        self.all: dict[str, dataproc.Cluster] = {}
        self.stocked_out: dict[str, ApiError] = {}
        self.lost, self.page_size = 0, 100
        self._requests: dict[str, str] = {}

    @property
    def names(self):
        return sorted(self.all)

    def create(self, request):
        if request.request_id in self._requests:
            return self._repeated(request.request_id)
        cluster = dataproc.Cluster(request.cluster)
        self._check(request, cluster)
        cluster.cluster_uuid = str(uuid.uuid4())
        software = cluster.config.software_config
        software.image_version = software.image_version.replace("-", _SUBMINOR, 1)
        _enter(cluster, State.CREATING)
        self.all[cluster.cluster_name] = cluster
        metadata = _metadata(cluster, "CREATE", f"Create cluster with {_workers(cluster)} workers")
        if not cluster.config.gce_cluster_config.subnetwork_uri:
            metadata.warnings = ["No subnetwork is named: the network 'default' is used."]
        return self._started(request, cluster, metadata, lambda: self._make(cluster, metadata))

    def get(self, request):
        return self._existing(request.cluster_name)

    def list(self, request):
        wanted = [each for name, each in sorted(self.all.items()) if _matches(each, request.filter)]
        size = min(request.page_size or self.page_size, self.page_size)
        page, following = paged(wanted, request.page_token, size)
        return dataproc.ListClustersResponse(clusters=page, next_page_token=following)

    def update(self, request):
        cluster = self._existing(request.cluster_name)
        paths = set(request.update_mask.paths)
        if unknown := paths - {"labels", "config.worker_config.num_instances"}:
            raise invalid(f"Field '{min(unknown)}' cannot be updated")
        if "labels" in paths:
            cluster.labels = dict(request.cluster.labels)
        if "config.worker_config.num_instances" in paths:
            cluster.config.worker_config.num_instances = request.cluster.config.worker_config.num_instances
        metadata = _metadata(cluster, "UPDATE", "Update cluster")
        return self._started(request, cluster, metadata, lambda: _ended(metadata, cluster))

    def start(self, request):
        if request.request_id in self._requests:
            return self._repeated(request.request_id)
        cluster = self._existing(request.cluster_name)
        if cluster.status.state != State.STOPPED:
            raise ApiError("FAILED_PRECONDITION", f"Cluster {cluster.cluster_name} is {cluster.status.state.name}")
        _enter(cluster, State.STARTING)
        metadata = _metadata(cluster, "START", "Start cluster")

        def work():
            _enter(cluster, State.RUNNING)
            return _ended(metadata, cluster)

        return self._started(request, cluster, metadata, work)

    def stop(self, name):
        """As the console does it."""
        _enter(self.all[name], State.STOPPED)

    def break_update(self, name):
        """As where somebody scales it and there are no machines."""
        _enter(self.all[name], State.ERROR_DUE_TO_UPDATE)

    def delete(self, request):
        if request.request_id in self._requests:
            return self._repeated(request.request_id)
        cluster = self._existing(request.cluster_name)
        if request.cluster_uuid and request.cluster_uuid != cluster.cluster_uuid:
            raise not_found("Cluster", f"{request.cluster_name} with UUID {request.cluster_uuid}")
        if cluster.status.state == State.DELETING:
            refused = f"Cannot delete cluster '{request.cluster_name}' while it has other pending delete operations."
            raise ApiError("FAILED_PRECONDITION", refused)
        _enter(cluster, State.DELETING)
        metadata = _metadata(cluster, "DELETE", "Delete cluster")
        return self._started(request, cluster, metadata, lambda: self._delete(cluster, metadata))

    def _started(self, request, cluster, metadata, work):
        parent = f"projects/{request.project_id}/regions/{request.region}"
        operation = self.operations.start(metadata.operation_type, parent, metadata, work)
        if request.request_id:
            self._requests[request.request_id] = operation.name
        return operation.message()

    def _repeated(self, request_id):
        return self.operations._existing(self._requests[request_id]).message()

    def _existing(self, name):
        if name not in self.all:
            raise not_found("Cluster", f"projects/p/regions/r/clusters/{name}")
        return self.all[name]

    def _check(self, request, cluster):
        if not _NAME.fullmatch(cluster.cluster_name):
            raise invalid(f"Invalid value for field 'cluster_name': '{cluster.cluster_name}'")
        if cluster.cluster_name in self.all:
            raise ApiError("ALREADY_EXISTS", f"Already exists: Failed to create cluster: {cluster.cluster_name}")
        _check_labels(cluster.labels)
        _check_software(cluster.config)
        _check_lifecycle(cluster.config)
        self._check_machines(cluster.config, request.region)
        if cluster.config.config_bucket and not self._bucket.client.bucket(cluster.config.config_bucket).exists():
            raise invalid(f"Bucket not found: '{cluster.config.config_bucket}'")
        for action in cluster.config.initialization_actions:
            if not action.executable_file.startswith("gs://"):
                raise invalid(f"Init action must be a gs:// URI: {action.executable_file}")

    def _check_machines(self, config, region):
        zone = config.gce_cluster_config.zone_uri or f"{region}-a"
        if not zone.startswith(f"{region}-") or zone not in self._compute.zones:
            raise invalid(f"Invalid zone '{zone}' for region {region}")
        config.gce_cluster_config.zone_uri = zone
        config.master_config.num_instances = config.master_config.num_instances or 1
        for group in (config.master_config, config.worker_config, config.secondary_worker_config):
            if group.machine_type_uri and group.machine_type_uri not in self._compute.zones[zone]:
                raise invalid(f"Machine type '{group.machine_type_uri}' is not available in zone '{zone}'")
            for each in group.accelerators:
                if each.accelerator_type_uri not in self._compute.zones[zone]:
                    raise invalid(f"Accelerator type '{each.accelerator_type_uri}' not found in zone '{zone}'")
        for metric, needed in self._compute.needed(config).items():
            if needed > (free := self._compute.free(metric)):
                raise quota(metric, requested=float(needed), available=float(free))

    def _make(self, cluster, metadata):
        metadata.status = dataproc.ClusterOperationStatus(state=OperationState.RUNNING)
        zone = cluster.config.gce_cluster_config.zone_uri
        if zone in self.stocked_out:
            raise self._broken(cluster, metadata, self.stocked_out[zone])
        _name_instances(cluster)
        for node in _instances(cluster):
            for number, action in enumerate(cluster.config.initialization_actions):
                self._run_action(cluster, metadata, node, number=number, action=action)
        active = max(_workers(cluster), 1) - self.lost
        cluster.metrics.yarn_metrics = {"yarn-nodes-active": active}
        _enter(cluster, State.RUNNING)
        return _ended(metadata, cluster)

    def _run_action(self, cluster, metadata, node, *, number, action):
        role, instance = node
        status, output = self.nodes(cluster, role, _workers(cluster), action.executable_file)
        staging = cluster.config.config_bucket or self._bucket.name
        key = f"google-cloud-dataproc-metainfo/{cluster.cluster_uuid}/{instance}"
        key += f"/dataproc-initialization-script-{number}_output"
        self._bucket.client.bucket(staging).blob(key).upload_from_string(output)
        if status:
            message = f"Multiple Errors:\n - Initialization action failed. Failed action '{action.executable_file}', "
            raise self._broken(cluster, metadata, invalid(f"{message}see output in: gs://{staging}/{key}"))

    def _broken(self, cluster, metadata, error):
        """As the service does: the cluster stays, and is billed, until it is deleted."""
        _enter(cluster, State.ERROR, detail=error.status.message)
        _ended(metadata, cluster)
        return error

    def _delete(self, cluster, metadata):
        self.all.pop(cluster.cluster_name)
        _ended(metadata, cluster)
        return empty_pb2.Empty()


def _metadata(cluster, kind, description):
    return dataproc.ClusterOperationMetadata(
        cluster_name=cluster.cluster_name,
        cluster_uuid=cluster.cluster_uuid,
        operation_type=kind,
        description=description,
        labels=dict(cluster.labels),
        status=dataproc.ClusterOperationStatus(state=OperationState.PENDING),
    )


def _ended(metadata, cluster):
    metadata.status_history = [metadata.status]
    metadata.status = dataproc.ClusterOperationStatus(state=OperationState.DONE)
    return cluster


def _enter(cluster, state, *, detail=""):
    if cluster.status.state:
        cluster.status_history.append(cluster.status)
    cluster.status = dataproc.ClusterStatus(state=state, detail=detail)


def _matches(cluster, text):
    """The filter's `field = value` terms, as the service reads them: joined by AND, labels and clusterName only."""
    for term in filter(None, text.split(" AND ")):
        field, _, value = (word.strip() for word in term.partition("="))
        if field.startswith("labels."):
            there = cluster.labels.get(field.removeprefix("labels."))
            if there is None or (value not in {there, "*"}):
                return False
        elif field == "clusterName":
            if cluster.cluster_name != value:
                return False
        else:
            raise invalid(f"Invalid filter: {text}")
    return True


def _workers(cluster):
    return cluster.config.worker_config.num_instances + cluster.config.secondary_worker_config.num_instances


def _name_instances(cluster):
    name, config = cluster.cluster_name, cluster.config
    config.master_config.instance_names = [f"{name}-m"]
    for group, mark in ((config.worker_config, "w"), (config.secondary_worker_config, "sw")):
        group.instance_names = [f"{name}-{mark}-{number}" for number in range(group.num_instances)]


def _instances(cluster):
    config = cluster.config
    yield "Master", config.master_config.instance_names[0]
    for group in (config.worker_config, config.secondary_worker_config):
        for instance in group.instance_names:
            yield "Worker", instance


def _check_labels(labels):
    if len(labels) > 32:
        raise invalid("A resource has at most 32 user labels")
    for key, value in labels.items():
        if not _LABEL[0].fullmatch(key) or not _LABEL[1].fullmatch(value):
            raise invalid(f"Invalid label: {key}={value}")


def _check_software(config):
    software = config.software_config
    if software.image_version not in _IMAGES:
        raise invalid(f"Selected software image version '{software.image_version}' can no longer be used")
    for key in software.properties:
        if key.partition(":")[0] not in _PREFIXES or ":" not in key:
            raise invalid(f"Property '{key}' has no known prefix")
    workers = config.worker_config.num_instances
    if workers == 1 or (workers == 0 and software.properties.get(_ZERO_WORKERS) != "true"):
        raise invalid(f"Multi-node clusters need at least 2 workers; it has {workers}")


def _check_lifecycle(config):
    lifetime = config.lifecycle_config.idle_delete_ttl
    if lifetime is not None and lifetime.total_seconds() and int(lifetime.total_seconds()) not in _IDLE_S:
        raise invalid("idle_delete_ttl is between 5 minutes and 14 days")
