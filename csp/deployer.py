"""The verbs of a deployment that need no cluster to become ready: plan, check, send, status, logs, down. Laptop.

`up.py` makes the cluster, and `run.py` runs a notebook or a program on it. All of them are the same for every cloud:
`cloud.py` lists the steps that a cloud has to know.

Nothing is remembered on the laptop: a tag on the cluster and the folder of the deployment tell all that there is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csp import ownership
from csp.cloud import SUMS, Check, ClusterState, Deployment, Exit, Log
from csp.cloud_session import Deadline, Session, check_name
from server_utils.clusters.cluster import Cluster
from server_utils.clusters.gpu_fit import check as fit
from server_utils.errors import DeploymentError, StorageError
from server_utils.storage.send_folder import send_folder

DELETE_S = 900.0
KEPT = ("models", "data")  # folders of a deployment that `down` leaves


@dataclass(frozen=True)
class Plan:
    """What `up` would make. request: as the API takes it. files: name -> size in bytes."""

    name: str
    place: str
    nodes: str
    request: dict[str, Any]
    folder: str
    files: dict[str, int]
    framework: str = ""
    runtime: str = ""
    idle_minutes: int = 0


@dataclass(frozen=True)
class Removal:
    """What `down` did. kept: folders of models and data. looked: whether a folder for files was known at all."""

    deleted: list[str]
    kept: list[str]
    looked: bool

    @property
    def left(self) -> str:
        """What still costs something, in sentences."""
        parts = [] if self.deleted else ["There is nothing to delete."]
        if self.kept:
            parts.append(f"Kept, and billed as storage: {', '.join(self.kept)}; --delete-models deletes them.")
        if not self.looked:
            parts.append("Files were not looked for, as no bucket or volume was named.")
        if self.deleted:
            parts.append("Nothing else is left that bills." if parts else "Nothing is left that bills.")
        return " ".join(parts)


def plan(session: Session, deployment: Deployment) -> Plan:
    """What `up` would make. Asks nothing of the cloud."""
    check_name(deployment.name)
    first, upload = deployment.clusters[0], session.cloud.upload(deployment)
    return Plan(
        deployment.name,
        session.cloud.place,
        nodes_of(first),
        session.cloud.definition(deployment, first),
        upload.folder,
        {name: _size(each) for name, each in sorted(upload.files.items())},
        first.framework,
        first.runtime.name,
        first.options.idle_minutes,
    )


def check(session: Session, deployment: Deployment) -> list[Check]:
    """The free checks, the failed ones too."""
    return [*_fits(deployment), *session.call(lambda: list(session.cloud.checks(deployment)), "checking")]


def require(session: Session, deployment: Deployment) -> None:
    """Check, and go on only where everything passed.

    Raises:
        DeploymentError: names every check that failed, with its fix.
    """
    checks = check(session, deployment)
    if failed := [each for each in checks if not each.passed]:
        lines = ";\n".join(f"{each.name}: {each.found}; {each.fix}" for each in failed)
        raise DeploymentError(f"nothing was made, because {lines}", Exit.CHECK_FAILED)
    looked = dict.fromkeys(each.name for each in checks if each.looked)
    session.report.say(f"{len(looked)} checks passed: {', '.join(looked)}.")
    for each in checks:
        if not each.looked:
            session.report.say(f"Not sure: {each.name} {each.found}.")


def send(session: Session, deployment: Deployment) -> None:
    """Send what nodes install from: what is there already stays, and the checksums go last.

    Raises:
        DeploymentError: the folder is another person's, or a file could not be sent.
    """
    cloud, upload = session.cloud, session.cloud.upload(deployment)
    session.call(lambda: cloud.make_root(deployment), "making the folder")
    ownership.claim(session, deployment.name)
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: _file(each, Path(scratch) / str(n)) for n, (name, each) in enumerate(upload.files.items())}
        try:
            sent = session.call(lambda: send_folder(cloud.store(upload.folder), files, last=SUMS), "sending files")
        except StorageError as error:
            raise DeploymentError(
                f"{error}. What was sent stays; run the same command again to send the rest"
            ) from None
    session.report.say(f"Sent {len(sent)} of {len(files)} files to {upload.folder}.")


def status(session: Session, name: str) -> list[ClusterState]:
    """Every cluster of that name or tag.

    Raises:
        DeploymentError: if there is none.
    """
    check_name(name)
    states = session.find(name)
    if not states:
        runs = [f"run {each} goes on, on a cluster of its own that bills" for each in _active_runs(session, name)]
        ended = f"`{session.line('down', name)}` ends them" if runs else f"`{session.line('up', name)}` makes it"
        raise DeploymentError(
            f"there is no deployment {name!r} in {session.cloud.place}; {'; '.join([*runs, ended])}", Exit.NOT_FOUND
        )
    return states


def logs(session: Session, name: str, kinds: Sequence[str]) -> list[Log]:
    """The logs of a deployment, of the kinds that are asked for."""
    state = next((each for each in status(session, name) if each.ours), None)
    if state is None:
        raise DeploymentError(f"the cluster {name!r} is none of ours, and so has no logs of ours", Exit.NOT_FOUND)
    return session.call(lambda: list(session.cloud.logs(state, kinds)), "reading logs")


def down(session: Session, name: str, *, models: bool = False) -> list[str]:
    """Delete a deployment, and nothing else. Its runs are cancelled first. Returns what was deleted.

    models: delete models and data too.
    """
    return remove(session, name, models=models).deleted


def remove(session: Session, name: str, *, models: bool = False) -> Removal:
    """As `down`; returns what was kept too."""
    check_name(name)
    try:
        return _remove(session, name, models=models)
    except KeyboardInterrupt:
        raise DeploymentError(
            f"stopped by Ctrl-C. What is not deleted yet may bill: `{session.line('down', name)}` deletes the rest, "
            f"`{session.line('status', name)}` shows it",
            Exit.INTERRUPTED,
        ) from None


def _remove(session: Session, name: str, *, models: bool) -> Removal:
    states = [each for each in session.find(name) if each.ours]
    ownership.check(session, name, states)
    for run_id in _active_runs(session, name):  # on clusters of their own too, which would go on and bill
        session.cancel(run_id)
    deleted = [session.delete(each, Deadline.after(session.clock, DELETE_S)) for each in states]
    deleted += session.call(lambda: list(session.cloud.delete_others(name)), "deleting notebooks")
    roots = list(dict.fromkeys(filter(None, [*(each.root for each in states), session.cloud.root(name)])))
    kept = list[str]()
    for root in roots:
        doomed, staying = _sorted_out(session, root, models=models)
        deleted += _delete_folders(session, root, doomed, whole=not staying)
        kept += [f"{root}/{each}" for each in staying]
    return Removal(deleted, kept, bool(roots))


def init_script(cloud: str) -> Path:
    """The script that prepares a node of a cloud: of the repository, or of the installed package."""
    installed = Path(__file__).parent / "init-scripts" / f"{cloud}.sh"
    return installed if installed.exists() else Path(__file__).parents[1] / "init-scripts" / f"{cloud}.sh"


def nodes_of(cluster: Cluster) -> str:
    """What a cluster bills: "1 x g5.2xlarge, 2 x g5.4xlarge"."""
    workers = cluster.workers + cluster.options.spot_workers
    driver = f"1 x {cluster.driver_node_type}"
    return f"{driver}, {workers} x {cluster.node.node_type}" if workers else driver


def cost(state: ClusterState, price: str) -> str:
    """What it costs to leave a cluster up, in a sentence: prices are the user's, never ours."""
    until = f"until `down`, or {state.idle_minutes} minutes without work" if state.idle_minutes else "until `down`"
    return f"{state.nodes} bill{f' {price} an hour,' if price else ''} {until}."


def _active_runs(session: Session, name: str) -> list[str]:
    return session.call(lambda: list(session.cloud.active_runs(name)), "listing runs")


def _sorted_out(session: Session, root: str, *, models: bool) -> tuple[list[str], list[str]]:
    """The folders of a deployment that go, and those that stay."""
    store = session.cloud.store(root)
    folders = [each for each in session.call(store.folders, f"looking into {root}") if each != ownership.FOLDER]
    staying = [] if models else [each for each in folders if each in KEPT]
    return [each for each in folders if each not in staying], staying


def _delete_folders(session: Session, root: str, doomed: Sequence[str], *, whole: bool) -> list[str]:
    store = session.cloud.store(root)
    # Whose it is goes last, and stays with what stays.
    for each in [*doomed, *([ownership.FOLDER] if whole else [])]:
        session.call(lambda folder=each: store.delete(folder), f"deleting {root}/{each}")  # type: ignore[misc]
    return [f"{root}/{each}" for each in doomed]


def _fits(deployment: Deployment) -> list[Check]:
    """Whether the model fits on a node, where a model is named. Asks no cloud."""
    if deployment.model is None:
        return []
    weights, demand = deployment.model
    node = deployment.clusters[0].node
    results = [each for each in fit(weights, demand, platform=node.platform) if each.node_type == node.node_type]
    if not results:
        return [Check("model", f"{node.node_type} is not in the catalogue, so {weights.name} was not compared")]
    if results[0].fits:
        return [Check("model", f"{weights.name} fits on {node.node_type}")]
    lacks = f"{weights.name} does not fit on {node.node_type}: each GPU lacks {results[0].short_gib:.1f} GiB"
    return [Check("model", lacks, f"`spark-sidecar fit {weights.name}` lists the shapes that hold it")]


def _size(content: Path | str) -> int:
    return len(content.encode()) if isinstance(content, str) else content.stat().st_size


def _file(content: Path | str, scratch: Path) -> Path:
    if isinstance(content, str):
        scratch.write_text(content, encoding="utf-8")
        return scratch
    return content
