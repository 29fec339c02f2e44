"""Implement each step of a deployment on Databricks: the class `Databricks` is a `csp.cloud.Cloud`. Laptop.

Names of clusters are not unique, and `create` has no idempotency token, so a tag marks our clusters. Files, logs and
results are in a volume, below spark-sidecar/DEPLOYMENT. Notebooks are in the home folder of the user. A cluster may be
RUNNING before all workers are ready, so the workers are counted by their executors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from csp.cloud import (
    TAG,
    Check,
    ClusterState,
    Deployment,
    Difference,
    Failure,
    Log,
    Phase,
    RunRequest,
    RunState,
    Upload,
)
from csp.databricks import checks, comparison, failures, logs, runs
from csp.databricks import client as sdk
from csp.databricks.client import GoneError, translated
from csp.databricks.cluster_spec import request_body
from server_utils.clusters.cluster import Cluster
from server_utils.errors import ConfigurationError, DeploymentError, SidecarError
from server_utils.host.redaction import scrub
from server_utils.storage.send_folder import sha256
from server_utils.storage.stores.base import Store
from server_utils.storage.stores.databricks import Volume

_VOLUME = re.compile(r"/Volumes/[^/]+/[^/]+/[^/]+")
_PHASES = {
    "PENDING": Phase.STARTING,
    "RESTARTING": Phase.STARTING,
    "RUNNING": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "TERMINATING": Phase.DELETING,
    "TERMINATED": Phase.STOPPED,
    "ERROR": Phase.FAILED,
}  # any other state, such as UNKNOWN, counts as STARTING: such a cluster may be well, and must not be deleted


def connect(
    *,
    profile: str | None = None,
    volume: str | None = None,
    policy: str | None = None,
    user: str | None = None,
    owner: str | None = None,
) -> Databricks:
    """Return the workspace of a profile, or of the environment. Sends no request yet.

    Args:
        profile: of ~/.databrickscfg; None lets the SDK choose.
        volume: for files, models, logs and results; `up` and runs on a cluster of their own need it.
        policy: id of the cluster policy.
        user: the user to whom clusters are dedicated; None for the signed-in user.
        owner: `down` deletes this user's notebooks and runs too, beside those of the signed-in user.

    Raises:
        ConfigurationError: the volume is no path of a volume.
    """
    if volume is not None and not _VOLUME.fullmatch(volume):
        raise ConfigurationError(f"--volume is {volume!r}; give /Volumes/CATALOG/SCHEMA/NAME")
    return Databricks(profile, volume, policy, user, owner)


class Databricks:
    """One workspace. Its methods are described in `csp.cloud.Cloud`."""

    command = "databricks"

    def __init__(
        self, profile: str | None, volume: str | None, policy: str | None, user: str | None, owner: str | None
    ) -> None:
        self._profile, self._volume, self._policy = profile, volume, policy
        self._dedicated, self._acts_for = user, owner

    @cached_property
    def _client(self) -> Any:
        return sdk.connect(self._profile)

    @cached_property
    def _once(self) -> Any:
        """A client that sends each request once: a repeated request would be refused, or make a second cluster."""
        return sdk.connect(self._profile, tries_once=True)

    @cached_property
    def _me(self) -> str:
        with translated("asking who is signed in"):
            return str(self._client.current_user.me().user_name)

    @property
    def place(self) -> str:
        """The address of the workspace; a general name before the first request."""
        return str(self._client.config.host) if "_client" in self.__dict__ else "the Databricks workspace"

    @property
    def options(self) -> str:
        options = {"--profile": self._profile, "--volume": self._volume}
        return shlex.join(word for name, value in options.items() if value for word in (name, value))

    def cloud_name(self) -> str:
        """Return the cloud of the workspace: aws, azure or gcp."""
        config = self._client.config
        return "azure" if config.is_azure else "gcp" if config.is_gcp else "aws"

    def root(self, name: str) -> str:
        return f"{self._volume}/spark-sidecar/{name}" if self._volume else ""

    def definition(self, deployment: Deployment, cluster: Cluster) -> dict[str, Any]:
        root = self._root(deployment.name)
        tags = {**cluster.options.tags, TAG: deployment.name}
        options = dataclasses.replace(cluster.options, tags=tags, log_folder=f"{root}/logs")
        folders = {"SPARK_SIDECAR_MODELS": "models", "SPARK_SIDECAR_DATA": "data", "SPARK_SIDECAR_LOGS": "logs"}
        env = {name: f"{root}/{folder}" for name, folder in folders.items()} | cluster.env
        complete = dataclasses.replace(cluster, options=options, env=env)
        script = f"{self.upload(deployment).folder}/databricks.sh"
        body = request_body(complete, name=deployment.name, init_script=script)
        return body | ({"policy_id": self._policy} if self._policy else {})

    def upload(self, deployment: Deployment) -> Upload:
        bundle = deployment.bundle
        files = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}
        script = deployment.init_script.read_text(encoding="utf-8")
        # The hash covers the same facts as in the Terraform module databricks-assets: any change changes the path.
        sums = {name: sha256(path) for name, path in files.items()}
        facts = [sums, script, deployment.clusters[0].framework, dict(deployment.downloads)]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        root = self._root(deployment.name)
        folder = f"{root}/files-{digest}"
        settings = {
            "FRAMEWORK": deployment.clusters[0].framework,
            "SPARK_SIDECAR_BUNDLE": folder,
            "SPARK_SIDECAR_LOGS": f"{root}/logs",
            **deployment.downloads,
        }
        texts = {
            "databricks.sh": script.replace("@SETTINGS@", f"{folder}/spark-sidecar.env"),
            "spark-sidecar.env": "".join(f"{name}={value}\n" for name, value in settings.items()),
        }
        return Upload(folder, {**files, **texts})

    def user(self) -> str:
        return self._me

    def checks(self, deployment: Deployment) -> Iterator[Check]:
        request = self.definition(deployment, deployment.clusters[0])
        volume = self._volume or ""
        return checks.checks(self._client, deployment, request, volume=volume, dedicated=self._dedicated)

    def candidates(self, deployment: Deployment) -> Sequence[Cluster]:
        return deployment.clusters

    def make_root(self, deployment: Deployment) -> None:
        from databricks.sdk.service.catalog import VolumeType

        catalog, schema, name = self._root(deployment.name).split("/")[2:5]
        try:
            with translated("reading the volume", needs="READ VOLUME"):
                self._client.volumes.read(f"{catalog}.{schema}.{name}")
        except GoneError:
            with translated("making the volume", needs="CREATE VOLUME"):
                self._client.volumes.create(catalog, schema, name, VolumeType.MANAGED)

    def store(self, folder: str) -> Store:
        return Volume(folder, folder, self._client)

    def find(self, name: str) -> Sequence[ClusterState]:
        with translated("listing clusters"):
            listed = list(self._client.clusters.list())
        named = [
            each
            for each in listed
            if name in {(each.custom_tags or {}).get(TAG), each.cluster_name}
            and not (each.cluster_source and each.cluster_source.value == "JOB")
        ]
        states = [self.state(each.cluster_id, name) for each in named]
        return [each for each in states if each]

    def differences(self, state: ClusterState, deployment: Deployment, cluster: Cluster) -> Sequence[Difference]:
        existing = self._details(state.cluster_id).as_dict()
        return list(comparison.differences(existing, self.definition(deployment, cluster)))

    def create(self, deployment: Deployment, cluster: Cluster) -> str:
        from databricks.sdk.service.compute import ClusterSpec

        spec = ClusterSpec.from_dict(self._complete(deployment, cluster))
        fields = {each.name: getattr(spec, each.name) for each in dataclasses.fields(spec)}
        with _creating():
            wait = self._once.clusters.create(**{name: value for name, value in fields.items() if value is not None})
        return str(wait.cluster_id)

    def start(self, state: ClusterState) -> None:
        try:
            with translated("starting the cluster", needs="CAN RESTART on the cluster"):
                self._once.clusters.start(state.cluster_id)
        except DeploymentError:
            now = self.state(state.cluster_id)
            if now is None or now.phase is Phase.STOPPED:
                raise  # else another person started it meanwhile, and the workspace reports an invalid state

    def state(self, cluster_id: str, name: str | None = None) -> ClusterState | None:
        try:
            details = self._details(cluster_id)
        except GoneError:
            return None
        state = _state_of(details, name, str(self._client.config.host))
        if state.phase is Phase.RUNNING and not state.is_ready:
            state = dataclasses.replace(state, detail=f"{state.detail} {self._missing_workers(cluster_id)}".strip())
        return state

    def failure(self, state: ClusterState) -> Failure:
        details = self._details(state.cluster_id)
        return failures.failure_of(details, lambda: self._events(state.cluster_id), lambda: self._failed_node(state))

    def delete(self, state: ClusterState) -> None:
        """End the cluster first. Nodes of a cluster that is deleted while it runs would still write logs."""
        clusters = self._client.clusters
        try:
            with translated("deleting the cluster", needs="CAN MANAGE on the cluster"):
                ended = _word(clusters.get(state.cluster_id)) == "TERMINATED"
                (clusters.permanent_delete if ended else clusters.delete)(state.cluster_id)
        except GoneError:
            return

    def delete_others(self, name: str) -> Sequence[str]:
        deleted = []
        for user in self._users():
            folder = runs.folder_of(user, name)
            with suppress(GoneError), translated(f"deleting {folder}"):
                self._client.workspace.delete(folder, recursive=True)
                deleted.append(folder)
        return deleted

    def logs(self, state: ClusterState, kinds: Sequence[str]) -> Iterator[Log]:
        return logs.logs(self._logs_store(state), state.cluster_id, kinds) if state.root else iter(())

    def submit(self, request: RunRequest) -> str:
        new = None
        if request.deployment:
            new = self._complete(request.deployment, request.deployment.clusters[0])
            # A job's cluster has no name of its own, and ends with the run.
            new = {key: value for key, value in new.items() if key not in {"cluster_name", "autotermination_minutes"}}
        return runs.submit(self._client, request, runs.folder_of(self._me, request.name), new)

    def cancel(self, run_id: str) -> None:
        runs.cancel(self._client, run_id)

    def active_runs(self, name: str) -> Sequence[str]:
        return runs.active(self._client, name, self._users())

    def run_state(self, run_id: str) -> RunState:
        return runs.state_of(self._client, run_id)

    def run_output(self, run_id: str) -> str:
        return runs.printed(self._client, run_id)

    def executed(self, run_id: str) -> Mapping[str, bytes]:
        return runs.executed(self._client, run_id)

    def _users(self) -> list[str]:
        """Return whose notebooks and runs belong to the deployment: those of its owner and of the signed-in user."""
        return list(dict.fromkeys(filter(None, [self._acts_for, self._me])))

    def _complete(self, deployment: Deployment, cluster: Cluster) -> dict[str, Any]:
        """Return the definition with the user to whom the cluster is dedicated, which the API needs."""
        return self.definition(deployment, cluster) | {"single_user_name": self._dedicated or self._me}

    def _root(self, name: str) -> str:
        if not self._volume:
            raise ConfigurationError(
                "no volume for the files of the deployment: give --volume /Volumes/CATALOG/SCHEMA/NAME, or set "
                "SPARK_SIDECAR_VOLUME; it is made where it is not there"
            )
        return self.root(name)

    def _details(self, cluster_id: str) -> Any:
        with translated("reading the cluster"):
            return self._client.clusters.get(cluster_id)

    def _events(self, cluster_id: str) -> Iterable[Any]:
        """Return the events, the newest first."""
        from databricks.sdk.service.compute import GetEventsOrder

        with translated("reading the events"):
            return list(self._client.clusters.events(cluster_id, order=GetEventsOrder.DESC, limit=50))

    def _missing_workers(self, cluster_id: str) -> str:
        try:
            return failures.missing_workers(self._events(cluster_id))
        except DeploymentError:  # this user may not read the events; they would only explain the wait
            return ""

    def _failed_node(self, state: ClusterState) -> str:
        """Return the end of the log of a node that failed."""
        try:
            return logs.of_failed_node(self._logs_store(state), state.cluster_id) if state.root else ""
        except SidecarError:  # this user may not read the log; the failure is reported without it
            return ""

    def _logs_store(self, state: ClusterState) -> Store:
        return self.store(f"{state.root}/logs")


def _creating() -> Any:
    needs = "the entitlement 'unrestricted cluster creation', or --policy with a policy that you may use"
    return translated("creating the cluster", needs=needs)


def _state_of(details: Any, name: str | None, host: str) -> ClusterState:
    tag = (details.custom_tags or {}).get(TAG)
    state = _word(details)
    workers = details.num_workers or 0
    log = details.cluster_log_conf and details.cluster_log_conf.volumes
    driver, node = details.driver_node_type_id or details.node_type_id, details.node_type_id
    return ClusterState(
        details.cluster_id,
        details.cluster_name or "",
        _PHASES.get(state, Phase.STARTING),
        scrub(f"{state} {details.state_message or ''}".strip()),
        owner=details.creator_user_name or "",
        ours=tag is not None and name in {None, tag},
        nodes=f"1 x {driver}, {workers} x {node}" if workers else f"1 x {node}",
        workers=workers,
        ready=len(details.executors or []),
        idle_minutes=details.autotermination_minutes or 0,
        root=(log.destination or "").removesuffix("/logs") if log and tag else "",
        page=f"{host}/compute/clusters/{details.cluster_id}",
    )


def _word(details: Any) -> str:
    """Return the workspace's own word for the state of a cluster."""
    return str(details.state.value) if details.state else "UNKNOWN"
