"""The steps of a deployment that each cloud implements, and the types that they exchange. Laptop; imports no SDK.

A cloud is one class with the methods of `Cloud`, in a folder beside this file. It implements single steps by its API.
The order of the steps and the output are in `deployer.py`, `up.py` and `run.py`, retries in `cloud_session.py`.

A method raises `TransientError` for an error that a retry may solve: no network, 429, an error of the server. It raises
`DeploymentError` for a refusal, with the reason and the fix. Every text of an SDK goes through `scrub`, so that no
message holds a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Protocol

from server_utils.clusters.cluster import Cluster
from server_utils.clusters.gpu_fit import Demand
from server_utils.clusters.model_memory import Weights
from server_utils.errors import DeploymentError
from server_utils.host.redaction import scrub
from server_utils.storage.stores.base import Store

TAG = "spark-sidecar-deployment"  # tag or label of a cluster -> the name of its deployment
SUMS = "SHA256SUMS"  # is sent as the last file of an upload
TAIL_LINES = 100
NEWEST_LOGS = 4  # how many logs of each kind are shown


class Exit(IntEnum):
    """The exit codes of the command line. docs/deploy.md shows this list."""

    DONE = 0
    REFUSED = 1  # the cloud refused or failed; the message says what exists now
    USAGE = 2  # an argument or a setting is wrong: nothing was made
    RUN_FAILED = 3  # the run itself failed
    RUN_NOT_DONE = 4  # the run was skipped or cancelled, or timed out
    CHECK_FAILED = 5  # a check before the start failed: nothing was made
    TIMEOUT = 6  # the command timed out: the cluster or the run may go on, and then bills
    NOT_FOUND = 7  # the deployment or the run does not exist, or its cluster is not ready
    TAKEN = 8  # the name belongs to another person
    INTERRUPTED = 130  # Ctrl-C


@dataclass(frozen=True)
class Deployment:
    """The deployment that a user requests.

    Attributes:
        clusters: the choices, in order. The next one is tried if the cloud has no capacity for the one before.
        bundle: local folder with our wheel, SHA256SUMS and perhaps wheels/.
        init_script: local path of the script that prepares a node.
        downloads: variables by which nodes reach the package index, such as UV_DEFAULT_INDEX.
        model: the weights of the language model to be served, and the demand; None if the user named no model.
        price: the price of one hour of the cluster as the user wrote it, such as "3.20 USD"; "" if it is unknown.
    """

    name: str
    clusters: tuple[Cluster, ...]
    bundle: Path
    init_script: Path
    downloads: Mapping[str, str] = field(default_factory=dict)
    model: tuple[Weights, Demand] | None = None
    price: str = ""


@dataclass(frozen=True)
class Check:
    """The result of one free check, before anything is made.

    Attributes:
        detail: the result in words.
        fix: what to do; "" if the check passed.
        was_checked: False if the cloud did not tell. Such a check passes, and the report says so.
    """

    name: str
    detail: str
    fix: str = ""
    was_checked: bool = True

    @property
    def passed(self) -> bool:
        """Whether the user has nothing to fix."""
        return not self.fix

    @classmethod
    def from_call(cls, name: str, call: Callable[[], Check]) -> Check:
        """Call a check. It passes if the cloud refuses to answer: the cloud decides when the cluster is made."""
        try:
            return call()
        except DeploymentError as error:
            return cls(name, f"could not be checked: {error}", was_checked=False)


@dataclass(frozen=True)
class Upload:
    """The files that nodes install from, and their folder in the cloud.

    Attributes:
        folder: address with a hash of all contents, so files of a running cluster never change.
        files: name below the folder -> a local file or a text; SHA256SUMS is one of them.
    """

    folder: str
    files: Mapping[str, Path | str]


class Phase(StrEnum):
    """The state of a cluster, in words that all clouds share."""

    STARTING = "starting"
    RUNNING = "running"  # executors may still be missing
    STOPPED = "stopped"  # nodes do not bill, disks may; the cluster can be started again
    FAILED = "failed"  # the cluster can only be deleted
    DELETING = "deleting"


@dataclass(frozen=True)
class ClusterState:
    """A cluster as its cloud describes it now.

    Attributes:
        cluster_id: the id in the API.
        owner: the user who made it, as the cloud names users; "" if the cloud does not tell.
        ours: True if it has the tag of the deployment, False if it only has the same name.
        detail: the cloud's own word for the state, and its message.
        nodes: such as "1 x g5.2xlarge, 2 x g5.4xlarge".
        workers: number of requested workers, 0 for a single node.
        ready: number of workers that are ready.
        root: address of the folder of the deployment: uploads, logs and results are below it.
        page: web page of the cluster; "" for none.
    """

    cluster_id: str
    name: str
    phase: Phase
    detail: str = ""
    owner: str = ""
    ours: bool = True
    nodes: str = ""
    workers: int = 0
    ready: int = 0
    idle_minutes: int = 0
    root: str = ""
    page: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether every worker is ready."""
        return self.phase is Phase.RUNNING and self.ready >= self.workers

    @property
    def bills(self) -> bool:
        """Whether its nodes may cost money now. A failed cluster may still have nodes; a stopped one has only disks."""
        return self.phase is not Phase.STOPPED


@dataclass(frozen=True)
class Difference:
    """One difference between the existing cluster and the requested one.

    Attributes:
        text: such as "the node type is a, not b".
        is_setting: True if only settings of Spark or variables differ. Nodes and their files are the same, so the
            cluster may be used as it is.
    """

    text: str
    is_setting: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a cluster failed or stopped.

    Attributes:
        code: the cloud's own code, such as AWS_RESOURCE_QUOTA_EXCEEDED.
        reason: a sentence.
        fix: what to do, as a sentence.
        log: the end of the init script's own log; "" if there is none.
        no_capacity: whether another zone or node type may have capacity.
    """

    code: str
    reason: str
    fix: str
    log: str = ""
    no_capacity: bool = False


@dataclass(frozen=True)
class RunRequest:
    """A notebook or a Python file to run.

    Attributes:
        cluster: the cluster to run on; None for a cluster of its own, which `deployment` describes.
        results: address of the folder that the run gets as its parameter `results`.
        token: idempotency token: a second submission with the same token starts no second run.
        timeout_s: seconds after which the cloud ends the run.
    """

    name: str
    source: Path
    parameters: Mapping[str, str]
    results: str
    token: str
    timeout_s: int
    cluster: ClusterState | None = None
    deployment: Deployment | None = None


class RunPhase(StrEnum):
    """The state of a run, in words that all clouds share."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in {RunPhase.WAITING, RunPhase.RUNNING}


@dataclass(frozen=True)
class RunState:
    """A run as its cloud describes it now.

    Attributes:
        error: the end of its stack trace, "" for none.
        no_capacity: True if the cloud had no capacity for the run's own cluster; another choice may have it.
    """

    run_id: str
    phase: RunPhase
    detail: str = ""
    error: str = ""
    results: str = ""
    page: str = ""
    no_capacity: bool = False


@dataclass(frozen=True)
class Log:
    """A log of a cluster. kind: driver, init (the nodes, before Spark), executor or server (of inference)."""

    kind: str
    name: str
    text: str


def tail(content: bytes, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, without secrets."""
    return scrub("".join(content.decode(errors="replace").splitlines(keepends=True)[-lines:]))


class Cloud(Protocol):
    """The steps of one cloud.

    Attributes:
        command: the sub-command of `spark-sidecar`, such as "databricks".
    """

    command: str

    @property
    def place(self) -> str:
        """Return the workspace, or project and region, as text for people. Sends no request."""

    @property
    def options(self) -> str:
        """Return the command-line options that name the place, such as "--profile x". Sends no request."""

    def root(self, name: str) -> str:
        """Return the address of the folder of a deployment; "" if no volume or bucket is given. Sends no request."""

    def definition(self, deployment: Deployment, cluster: Cluster) -> dict[str, Any]:
        """Return the API's request that would make the cluster. Sends no request."""

    def upload(self, deployment: Deployment) -> Upload:
        """Return the files that nodes install from. Sends no request."""

    def user(self) -> str:
        """Return the signed-in user, as `ClusterState.owner` names users."""

    def checks(self, deployment: Deployment) -> Iterable[Check]:
        """Check privileges, node types, runtime and quota, for free. Makes nothing."""

    def candidates(self, deployment: Deployment) -> Sequence[Cluster]:
        """Return the clusters to try, in order. A cloud whose zones differ in GPUs adds one for each zone."""

    def make_root(self, deployment: Deployment) -> None:
        """Make what an upload needs, such as a volume. A bucket is not made: it must exist."""

    def store(self, folder: str) -> Store:
        """Return the store of a folder below a root."""

    def find(self, name: str) -> Sequence[ClusterState]:
        """Return the clusters that have the tag of the deployment, or its name. Clusters of jobs are left out."""

    def differences(self, state: ClusterState, deployment: Deployment, cluster: Cluster) -> Sequence[Difference]:
        """Return the differences between the existing cluster and the requested one."""

    def create(self, deployment: Deployment, cluster: Cluster) -> str:
        """Request a cluster, and return its id at once. Sends the request once: the caller checks before a retry."""

    def start(self, state: ClusterState) -> None:
        """Start a stopped cluster."""

    def state(self, cluster_id: str) -> ClusterState | None:
        """Return the state of a cluster now; None if it does not exist any more."""

    def failure(self, state: ClusterState) -> Failure:
        """Explain why a cluster stopped or failed, with the fix and the init script's log."""

    def delete(self, state: ClusterState) -> None:
        """Delete a cluster, which may not exist any more. A cluster that must end first is deleted after its end."""

    def delete_others(self, name: str) -> Sequence[str]:
        """Delete the files of a deployment outside of its root, such as uploaded notebooks; return their names."""

    def logs(self, state: ClusterState, kinds: Sequence[str]) -> Iterable[Log]:
        """Return the last lines of a cluster's newest logs, also after it failed."""

    def submit(self, request: RunRequest) -> str:
        """Send the source, start a run and return its id. The same token starts no second run."""

    def cancel(self, run_id: str) -> None:
        """Cancel a run, and with it a cluster of its own. A run that ended or does not exist is no error."""

    def active_runs(self, name: str) -> Sequence[str]:
        """Return the ids of the active runs of a deployment, started by its owner or the user, on any cluster."""

    def run_state(self, run_id: str) -> RunState:
        """Return the state of a run now. Raises DeploymentError if there is no such run."""

    def run_output(self, run_id: str) -> str:
        """Return what a run has printed so far; "" if the cloud tells that only at the end, or never."""

    def executed(self, run_id: str) -> Mapping[str, bytes]:
        """Return the executed notebook, and the cloud's other files of a run: file name -> content."""
