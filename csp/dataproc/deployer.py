"""Implement each step of a deployment on Dataproc: the class `Dataproc` is a `csp.cloud.Cloud`. Laptop.

A deployment is one cluster with a label, and the folder spark-sidecar/NAME of a bucket. The id of a cluster is its name
and its UUID, so no other cluster of the same name is ever deleted. If a creation fails, a cluster in the state ERROR
remains and bills until it is deleted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from csp.cloud import (
    TAG,
    Check,
    ClusterState,
    Deployment,
    Difference,
    Exit,
    Failure,
    Log,
    Phase,
    RunRequest,
    RunState,
    Upload,
)
from csp.dataproc import checks, comparison, logs, runs, workflow_runs
from csp.dataproc.clients import TIMEOUT_S, Clients, sign_in, translated
from csp.dataproc.cluster_spec import Place, create_request
from csp.dataproc.failures import explain, short
from server_utils.clusters.cluster import Cluster
from server_utils.errors import ConfigurationError, DeploymentError
from server_utils.storage import urls
from server_utils.storage.send_folder import sha256
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import Store

_LOGS, _OWNER = "spark-sidecar-logs", "spark-sidecar-owner"  # in the metadata of a cluster
_ACTIVE = "yarn-nodes-active"
_DISKS = "(its disks bill until it is deleted)"
_PHASES = {
    "RUNNING": Phase.RUNNING,
    "ERROR": Phase.FAILED,
    "ERROR_DUE_TO_UPDATE": Phase.RUNNING,  # it runs jobs, and refuses updates
    "DELETING": Phase.DELETING,
    "STOPPING": Phase.STOPPED,
    "STOPPED": Phase.STOPPED,
}
_CONSOLE = "https://console.cloud.google.com/dataproc/clusters"


class Dataproc:
    """One project and region.

    bucket: for files, logs and results; None if the verb makes no cluster.
    owner: of the clusters and runs; None for the signed-in user.
    """

    command = "dataproc"

    def __init__(self, clients: Clients, bucket: str | None = None, *, owner: str | None = None) -> None:
        self._clients, self._bucket, self._for = clients, bucket, owner
        self.place = f"{clients.project}, {clients.region}"
        options = {"--project": clients.project, "--region": clients.region, "--bucket": bucket}
        self.options = shlex.join(word for name, value in options.items() if value for word in (name, value))
        self._request_ids: dict[str, str] = {}  # of creations, starts and deletions that may have arrived

    def root(self, name: str) -> str:
        return f"gs://{self._bucket}/spark-sidecar/{name}" if self._bucket else ""

    def definition(self, deployment: Deployment, cluster: Cluster) -> dict[str, Any]:
        root, bundle = self.root(deployment.name), self.upload(deployment).folder
        places = {kind: f"{root}/{kind}" for kind in ("models", "data")}
        # The driver reads the Spark conf. Tasks read environment variables.
        conf = {f"spark.sidecar.{kind}": place for kind, place in places.items()} | cluster.conf
        env = {f"SPARK_SIDECAR_{kind.upper()}": place for kind, place in places.items()}
        env |= {"SPARK_SIDECAR_LOGS": f"{root}/logs"} | cluster.env
        return create_request(
            dataclasses.replace(cluster, conf=conf, env=env),
            name=deployment.name,
            place=Place(self._clients.project, self._clients.region, self._required_bucket()),
            init_script=f"{bundle}/{deployment.init_script.name}",
            bundle=bundle,
            labels={TAG: deployment.name},
            metadata={_LOGS: f"{root}/logs", **deployment.downloads},
        )

    def upload(self, deployment: Deployment) -> Upload:
        self._required_bucket()
        paths = {each.relative_to(deployment.bundle).as_posix(): each for each in deployment.bundle.rglob("*")}
        files = {name: path for name, path in paths.items() if path.is_file()}
        files[deployment.init_script.name] = deployment.init_script
        return Upload(f"{self.root(deployment.name)}/bundles/{_hash(files)}", files)

    def user(self) -> str:
        return checks.user(self._clients)

    def checks(self, deployment: Deployment) -> Iterable[Check]:
        return checks.free_checks(self._clients, deployment, self._required_bucket())

    def candidates(self, deployment: Deployment) -> Sequence[Cluster]:
        """Return one for each zone, those without quota last. Dataproc's own choice of a zone ignores GPUs."""
        shapes = checks.by_quota(self._clients, deployment.clusters)
        clusters = [each for cluster in shapes for each in self._in_zones(cluster)]
        if not clusters:
            raise checks.no_zone_error(self._clients, deployment.clusters)
        return clusters

    def make_root(self, deployment: Deployment) -> None:
        """Do nothing: the first file makes the folder, and the checks have read the bucket."""

    def store(self, folder: str) -> Store:
        return factory.store(urls.parse(folder))

    def find(self, name: str) -> Sequence[ClusterState]:
        clusters, namesake = self._labelled(TAG, name), self._get(name)
        if namesake and name not in {each.cluster_name for each in clusters}:
            clusters.append(namesake)
        return [self._state_of(each) for each in clusters]

    def differences(self, state: ClusterState, deployment: Deployment, cluster: Cluster) -> Sequence[Difference]:
        existing = self._get(state.name)
        if existing is None:
            return []
        requested = self.definition(deployment, cluster)["cluster"]
        return list(comparison.differences(existing, type(existing)(requested)))

    def create(self, deployment: Deployment, cluster: Cluster) -> str:
        from google.api_core.exceptions import AlreadyExists

        request = self.definition(deployment, cluster)
        _with_owner(request["cluster"], self._acting_for())
        key = f"{deployment.name} {cluster.options.zone}"
        request["request_id"] = self._request_ids.setdefault(key, str(uuid.uuid4()))
        try:
            with translated(but=AlreadyExists):
                operation = self._clients.clusters.create_cluster(request=request, retry=None, timeout=TIMEOUT_S)
                created = f"{deployment.name}/{operation.metadata.cluster_uuid}"
        except AlreadyExists:
            raise DeploymentError(
                f"somebody made a cluster {deployment.name!r} a moment ago; `status` shows whose it is. Run the same "
                "command again if it is yours, or choose another --name",
                Exit.TAKEN,
            ) from None
        # The request has arrived. A later creation, such as after a deletion, needs a new id.
        del self._request_ids[key]
        return created

    def start(self, state: ClusterState) -> None:
        from google.cloud.dataproc_v1 import StartClusterRequest

        key = f"start {state.cluster_id}"
        request_id = self._request_ids.setdefault(key, str(uuid.uuid4()))
        request = StartClusterRequest(self._identified(state) | {"request_id": request_id})
        with translated():
            self._clients.clusters.start_cluster(request=request, retry=None, timeout=TIMEOUT_S)
        del self._request_ids[key]

    def state(self, cluster_id: str) -> ClusterState | None:
        name, _, cluster_uuid = cluster_id.partition("/")
        cluster = self._get(name)
        if cluster is None or cluster.cluster_uuid != cluster_uuid:
            return None
        state = self._state_of(cluster)
        is_starting = state.phase is Phase.STARTING or (state.phase is Phase.RUNNING and not state.is_ready)
        return dataclasses.replace(state, detail=self._progress(state)) if is_starting else state

    def failure(self, state: ClusterState) -> Failure:
        operation = self._creation(state)
        text = operation.error.message if operation and operation.error.message else state.detail
        return dataclasses.replace(explain(text, link=state.page), log=logs.of_node(self._clients, text))

    def delete(self, state: ClusterState) -> None:
        from google.api_core.exceptions import NotFound

        key = f"delete {state.cluster_id}"
        request_id = self._request_ids.setdefault(key, str(uuid.uuid4()))
        request = self._identified(state) | {"request_id": request_id}
        try:
            with translated(but=NotFound):
                self._clients.clusters.delete_cluster(request=request, retry=None, timeout=TIMEOUT_S)
        except NotFound:
            pass  # it does not exist any more, or another cluster has its name now
        except DeploymentError:
            now = self.state(state.cluster_id)
            if now and now.phase is not Phase.DELETING:
                raise  # else another person deletes it now, and the service refuses a second deletion
        del self._request_ids[key]

    def delete_others(self, name: str) -> Sequence[str]:  # noqa: ARG002 - as every cloud takes it
        """Do nothing: Dataproc's own output of jobs stays in the bucket as its history."""
        return []

    def logs(self, state: ClusterState, kinds: Sequence[str]) -> Iterator[Log]:
        return logs.logs(self._clients, state, kinds)

    def submit(self, request: RunRequest) -> str:
        if request.cluster:
            return runs.submit(self._clients, request, request.cluster.name)
        deployment = request.deployment
        if deployment is None:
            raise ConfigurationError("a run needs a cluster, or a deployment that says what its own cluster is")
        definition = self.definition(deployment, self.candidates(deployment)[0])["cluster"]
        owner = self._acting_for()
        return workflow_runs.submit(self._clients, request, _with_owner(definition, owner), owner)

    def cancel(self, run_id: str) -> None:
        workflow_runs.cancel(self._clients, run_id)

    def active_runs(self, name: str) -> Sequence[str]:
        owners = {"", self._acting_for(), self.user()}
        deployed, own = ([each for each in self._labelled(label, name) if _owner(each) in owners]
                         for label in (TAG, runs.LABEL))  # fmt: skip
        workflows = workflow_runs.active(self._clients, {each.cluster_name for each in own}, self.root(name), owners)
        return [*workflows, *runs.active(self._clients, name, {each.cluster_uuid for each in deployed})]

    def run_state(self, run_id: str) -> RunState:
        return workflow_runs.state_of(self._clients, run_id)

    def run_output(self, run_id: str) -> str:
        job_id = workflow_runs.job_of(self._clients, run_id)
        return runs.output_of(self._clients, job_id) if job_id else ""

    def executed(self, run_id: str) -> Mapping[str, bytes]:
        job_id = workflow_runs.job_of(self._clients, run_id)
        return runs.executed(self._clients, job_id) if job_id else {}

    def _acting_for(self) -> str:
        return self._for or self.user()

    def _required_bucket(self) -> str:
        if not self._bucket:
            raise ConfigurationError(
                "no bucket is known; give --bucket, or set SPARK_SIDECAR_BUCKET, to its name alone"
            )
        return self._bucket

    def _in_zones(self, cluster: Cluster) -> list[Cluster]:
        if cluster.options.zone:
            return [cluster]
        try:
            offered = checks.zones(self._clients, cluster)
        except DeploymentError:
            return [cluster]  # this user may not read the offers of zones, so Dataproc chooses the zone
        return [
            dataclasses.replace(cluster, options=dataclasses.replace(cluster.options, zone=zone)) for zone in offered
        ]

    def _labelled(self, label: str, value: str) -> list[Any]:
        query = {"project_id": self._clients.project, "region": self._clients.region}
        query["filter"] = f"labels.{label} = {value}"
        with translated():
            return list(self._clients.clusters.list_clusters(request=query, retry=None, timeout=TIMEOUT_S))

    def _get(self, name: str) -> Any:
        """Return the cluster of a name; None if there is none."""
        from google.api_core.exceptions import NotFound

        query = {"project_id": self._clients.project, "region": self._clients.region, "cluster_name": name}
        try:
            with translated(but=NotFound):
                return self._clients.clusters.get_cluster(request=query, retry=None, timeout=TIMEOUT_S)
        except NotFound:
            return None

    def _state_of(self, cluster: Any) -> ClusterState:
        config, metadata = cluster.config, dict(cluster.config.gce_cluster_config.metadata)
        groups = (config.worker_config, config.secondary_worker_config)
        workers = sum(each.num_instances for each in groups)
        # YARN's metrics are a preview feature of Google's, and may be missing.
        ready = int(dict(cluster.metrics.yarn_metrics).get(_ACTIVE, workers)) if cluster.metrics else workers
        word, clients = cluster.status.state.name, self._clients
        return ClusterState(
            cluster_id=f"{cluster.cluster_name}/{cluster.cluster_uuid}",
            name=cluster.cluster_name,
            phase=(phase := _PHASES.get(word, Phase.STARTING)),
            owner=_owner(cluster),
            detail=" ".join(filter(None, [word, short(cluster.status.detail), _DISKS if word == "STOPPED" else ""])),
            ours=dict(cluster.labels).get(TAG) == cluster.cluster_name,
            nodes=comparison.nodes(config),
            workers=workers,
            ready=min(ready, workers) if phase is Phase.RUNNING else 0,
            idle_minutes=comparison.idle_minutes(config),
            root=metadata.get(_LOGS, "").removesuffix("/logs"),
            page=f"{_CONSOLE}/{cluster.cluster_name}/monitoring?region={clients.region}&project={clients.project}",
        )

    def _creation(self, state: ClusterState) -> Any:
        """Return the operation that made a cluster; None if Google deleted it, or this user may not read it."""
        parent = f"projects/{self._clients.project}/regions/{self._clients.region}/operations"
        terms = f"clusterName = {state.name} AND operationType = CREATE"
        _, _, cluster_uuid = state.cluster_id.partition("/")
        try:
            with translated():
                creations = list(self._clients.operations.list_operations(parent, terms, retry=None, timeout=TIMEOUT_S))
        except DeploymentError:
            return None  # the operation would only explain the state
        return next((each for each in creations if _metadata(each).cluster_uuid == cluster_uuid), None)

    def _progress(self, state: ClusterState) -> str:
        """Return the state of the creation, with its warnings."""
        operation = self._creation(state)
        if operation is None:
            return state.detail
        metadata = _metadata(operation)
        parts = [metadata.status.inner_state or metadata.status.state.name, metadata.status.details]
        now = parts if state.phase is Phase.STARTING else [state.detail]
        return short("; ".join(filter(None, [*now, *metadata.warnings])))

    def _identified(self, state: ClusterState) -> dict[str, str]:
        """Return the fields of a request that name this cluster, and no other of the same name."""
        name, _, cluster_uuid = state.cluster_id.partition("/")
        place = {"project_id": self._clients.project, "region": self._clients.region}
        return place | {"cluster_name": name, "cluster_uuid": cluster_uuid}


def connect(
    *, project: str | None = None, region: str | None = None, bucket: str | None = None, owner: str | None = None
) -> Dataproc:
    """Sign in to a project and region. owner: of the clusters and runs; None for the signed-in user.

    Raises:
        ConfigurationError: project or region are missing, or the bucket is no name.
        EnvironmentMissingError: Google's libraries are not installed.
        DeploymentError: there are no credentials.
    """
    if bucket and "/" in bucket:
        raise ConfigurationError(f"the bucket is {bucket!r}; give its name alone, without gs://")
    return Dataproc(sign_in(project, region), bucket, owner=owner)


def _metadata(operation: Any) -> Any:
    from google.cloud.dataproc_v1 import ClusterOperationMetadata

    return ClusterOperationMetadata.deserialize(operation.metadata.value)


def _owner(cluster: Any) -> str:
    return str(dict(cluster.config.gce_cluster_config.metadata).get(_OWNER, ""))


def _with_owner(definition: dict[str, Any], user: str) -> dict[str, Any]:
    """Add the owner to the definition of a cluster, in the metadata: a label cannot hold an e-mail address."""
    if user:
        definition["config"]["gce_cluster_config"]["metadata"][_OWNER] = user
    return definition


def _hash(files: Mapping[str, Path]) -> str:
    sums = [f"{name} {sha256(path)}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:12]
