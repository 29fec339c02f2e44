"""What a cloud can do for a deployment: the steps that `deployer.py` puts in order. Laptop; imports no SDK.

A cloud is one class with the methods of `Cloud`, in a folder beside this file. It says how its API does a step, and
never in which order steps go, when one is tried again, or what is printed.

A method raises `TransientError` for what may work the next time: no network, 429, a server's own error. It raises
`DeploymentError` for what is refused, and says why and what to do. Every text of an SDK goes through `scrub`, so that
no message holds a token.
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
SUMS = "SHA256SUMS"  # the file of an upload that is sent last
TAIL_LINES = 100
NEWEST_LOGS = 4  # of each kind that are shown


class Exit(IntEnum):
    """How the command line ends. This is the one list; docs/deploy.md shows it."""

    DONE = 0
    REFUSED = 1  # the cloud refused or failed; the message says what exists now
    USAGE = 2  # an argument or a setting is wrong: nothing was made
    RUN_FAILED = 3  # the run itself
    RUN_NOT_DONE = 4  # skipped, cancelled or out of time
    CHECK_FAILED = 5  # a check before the start: nothing was made
    TIMEOUT = 6  # the time is up: the cluster or the run goes on, or may, and bills
    NOT_FOUND = 7  # there is no such deployment or run, or its cluster is not ready
    TAKEN = 8  # the name is another person's
    INTERRUPTED = 130  # Ctrl-C


@dataclass(frozen=True)
class Deployment:
    """What a user asks for.

    Attributes:
        clusters: the first is made; the next where the cloud has no capacity for it, and so on.
        bundle: local folder with our wheel, SHA256SUMS and perhaps wheels/.
        init_script: local path of the script that prepares a node.
        downloads: how nodes reach the package index, such as UV_DEFAULT_INDEX.
        model: the weights of the language model that is to be served, and the demand; None where nobody said.
        price: of one hour of the cluster, in the user's own words, such as "3.20 USD"; "" where nobody said.
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
    """One free check before anything is made.

    Attributes:
        fix: "" where it passed.
        looked: whether the cloud answered; what it does not tell passes, and is said.
    """

    name: str
    found: str
    fix: str = ""
    looked: bool = True

    @property
    def passed(self) -> bool:
        """Whether nothing is to be done."""
        return not self.fix

    @classmethod
    def asked(cls, name: str, look: Callable[[], Check]) -> Check:
        """What a look finds. What the cloud does not let this user see passes: it decides by itself then."""
        try:
            return look()
        except DeploymentError as error:
            return cls(name, f"could not be checked: {error}", looked=False)


@dataclass(frozen=True)
class Upload:
    """The files that nodes install from, and where they go.

    Attributes:
        folder: its address holds a hash of all contents, so files of a running cluster never change.
        files: name below the folder -> a local file or a text; SHA256SUMS among them.
    """

    folder: str
    files: Mapping[str, Path | str]


class Phase(StrEnum):
    """What a cluster is doing, in words that all clouds share."""

    STARTING = "starting"
    RUNNING = "running"  # the cloud says so; executors may still be missing
    STOPPED = "stopped"  # no node of it bills, though disks may; it can be started again
    FAILED = "failed"  # it can only be deleted
    DELETING = "deleting"


@dataclass(frozen=True)
class ClusterState:
    """A cluster as its cloud describes it now.

    Attributes:
        cluster_id: what the API calls it.
        owner: who made it, as the cloud names people; "" where the cloud does not tell.
        ours: whether it has the tag of the deployment; else it only has the name.
        detail: the cloud's own word for the state, and its message.
        nodes: such as "1 x g5.2xlarge, 2 x g5.4xlarge".
        workers: how many were asked for, 0 for a single node.
        ready: how many of them are there.
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
        """Whether every worker is there."""
        return self.phase is Phase.RUNNING and self.ready >= self.workers

    @property
    def bills(self) -> bool:
        """Whether nodes of it may cost money now. A failed cluster may have some, and a stopped one none but disks."""
        return self.phase is not Phase.STOPPED


@dataclass(frozen=True)
class Difference:
    """In what a cluster that is there is not the one asked for.

    Attributes:
        text: such as "the node type is a, not b".
        is_setting: of Spark, or a variable: the nodes and what they install are the same, so it may be used as it is.
    """

    text: str
    is_setting: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a cluster is not there.

    Attributes:
        code: the cloud's own, such as AWS_RESOURCE_QUOTA_EXCEEDED.
        reason: a sentence.
        fix: what to do, as a sentence.
        log: the end of the init script's own log; "" where there is none.
        no_capacity: whether another zone or node type may be had.
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
        cluster: on which to run; None for a cluster of its own, which `deployment` describes.
        results: address of the folder that the run gets as its parameter `results`.
        token: makes a second submit of the same run the same run.
        timeout_s: after which the cloud ends the run.
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
    """What a run is doing, in words that all clouds share."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether it stays so."""
        return self not in {RunPhase.WAITING, RunPhase.RUNNING}


@dataclass(frozen=True)
class RunState:
    """A run as its cloud describes it now.

    Attributes:
        error: the end of its stack trace, "" for none.
        no_capacity: whether its own cluster could not be had, and another zone or node type may be.
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
    """The last lines of a log, without secrets."""
    return scrub("".join(content.decode(errors="replace").splitlines(keepends=True)[-lines:]))


class Cloud(Protocol):
    """How one cloud does each step.

    Attributes:
        command: the sub-command of `spark-sidecar`, such as "databricks".
    """

    command: str

    @property
    def place(self) -> str:
        """Where it works, for people: the workspace, or project and region. Asks nothing of the cloud."""

    @property
    def options(self) -> str:
        """Words of the command line that name the place, such as "--profile x". Asks nothing of the cloud."""

    def root(self, name: str) -> str:
        """Address of the folder of a deployment; "" where nobody said where. Asks nothing of the cloud."""

    def definition(self, deployment: Deployment, cluster: Cluster) -> dict[str, Any]:
        """The request that would make the cluster, as the API takes it. Asks nothing of the cloud."""

    def upload(self, deployment: Deployment) -> Upload:
        """What nodes install from. Asks nothing of the cloud."""

    def user(self) -> str:
        """Who is signed in, as `ClusterState.owner` names people."""

    def checks(self, deployment: Deployment) -> Iterable[Check]:
        """Look, for free, whether what is wanted can be had: privileges, node types, runtime, quota. Makes nothing."""

    def candidates(self, deployment: Deployment) -> Sequence[Cluster]:
        """The clusters to try, in this order; a cloud whose zones differ in GPUs adds one for each zone."""

    def make_root(self, deployment: Deployment) -> None:
        """Make what must be there before an upload, such as a volume; a bucket must be there."""

    def store(self, folder: str) -> Store:
        """The store of a folder below a root."""

    def find(self, name: str) -> Sequence[ClusterState]:
        """Every cluster with the tag of the deployment, and every one of its name. Those of jobs are left out."""

    def differences(self, state: ClusterState, deployment: Deployment, cluster: Cluster) -> Sequence[Difference]:
        """In what a cluster that is there is not the one asked for."""

    def create(self, deployment: Deployment, cluster: Cluster) -> str:
        """Ask for a cluster, and return its id at once. Never tries again by itself: the caller looks first."""

    def start(self, state: ClusterState) -> None:
        """Start a stopped cluster."""

    def state(self, cluster_id: str) -> ClusterState | None:
        """A cluster now; None where there is none any more."""

    def failure(self, state: ClusterState) -> Failure:
        """Why it is stopped or failed, with the fix, and the init script's log."""

    def delete(self, state: ClusterState) -> None:
        """Delete a cluster; it may be gone already. Where it has to end first, it is deleted again when it ended."""

    def delete_others(self, name: str) -> Sequence[str]:
        """Delete what a deployment has outside of its root, such as uploaded notebooks; returns their names."""

    def logs(self, state: ClusterState, kinds: Sequence[str]) -> Iterable[Log]:
        """The last lines of a cluster's newest logs, also after it failed."""

    def submit(self, request: RunRequest) -> str:
        """Send the source and start a run; returns its id. With the same token it is the same run."""

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run; a cluster of its own ends with it. A run that ended or is gone is no error."""

    def active_runs(self, name: str) -> Sequence[str]:
        """Ids of the runs of a deployment that go on now, also on clusters of their own; of the owner and the user."""

    def run_state(self, run_id: str) -> RunState:
        """A run now. Raises DeploymentError where there is none."""

    def run_output(self, run_id: str) -> str:
        """What a run has printed so far; "" where the cloud tells only at the end, or nothing."""

    def executed(self, run_id: str) -> Mapping[str, bytes]:
        """File name -> content of the executed notebook, and of what else the cloud keeps of a run."""
