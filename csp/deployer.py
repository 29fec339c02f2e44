"""The verbs of a deployment that do not wait for a cluster: plan, check, send, status, logs, down. Laptop.

`up.py` makes the cluster, and `run.py` runs a notebook or a program on it. All verbs are the same for every cloud:
`cloud.py` lists the steps that a cloud implements.

The laptop keeps no state: the cluster's tag and the folder of the deployment hold all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csp import ownership
from csp.cloud import SUMS, Check, ClusterState, Deployment, Exit, Log
from csp.cloud_session import Session, check_name
from server_utils.clusters.cluster import Cluster
from server_utils.clusters.gpu_fit import check as fit
from server_utils.errors import DeploymentError, StorageError
from server_utils.host.deadline import Deadline
from server_utils.storage.send_folder import send_folder

DELETE_S = 900.0
KEPT = ("models", "data")  # folders of a deployment that `down` leaves


@dataclass(frozen=True)
class Plan:
    """What `up` would make. request: of the cloud's API. files: name -> size in bytes."""

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
    """What `down` did.

    Attributes:
        deleted: clusters, notebooks and folders.
        kept_folders: folders of models and data.
        files_were_searched: False if no bucket or volume was named.
    """

    deleted: list[str]
    kept_folders: list[str]
    files_were_searched: bool

    @property
    def remaining_costs(self) -> str:
        """What still costs something, in sentences."""
        parts = [] if self.deleted else ["There is nothing to delete."]
        if self.kept_folders:
            parts.append(f"Kept, and billed as storage: {', '.join(self.kept_folders)}; --delete-models deletes them.")
        if not self.files_were_searched:
            parts.append("Files were not looked for, as no bucket or volume was named.")
        if self.deleted:
            parts.append("Nothing else is left that bills." if parts else "Nothing is left that bills.")
        return " ".join(parts)


def plan(session: Session, deployment: Deployment) -> Plan:
    """Return what `up` would make. Sends no request."""
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
    """Run the free checks, and return all results."""
    return [*_check_fit(deployment), *session.call(lambda: list(session.cloud.checks(deployment)), "checking")]


def require(session: Session, deployment: Deployment) -> None:
    """Run the free checks, and report them.

    Raises:
        DeploymentError: a check failed; the message names each that did, with its fix.
    """
    checks = check(session, deployment)
    if failed := [each for each in checks if not each.passed]:
        lines = ";\n".join(f"{each.name}: {each.detail}; {each.fix}" for each in failed)
        raise DeploymentError(f"nothing was made, because {lines}", Exit.CHECK_FAILED)
    passed = dict.fromkeys(each.name for each in checks if each.was_checked)
    session.report.say(f"{len(passed)} checks passed: {', '.join(passed)}.")
    for each in checks:
        if not each.was_checked:
            session.report.say(f"Not sure: {each.name} {each.detail}.")


def send(session: Session, deployment: Deployment) -> None:
    """Send the files that nodes install from, but those that exist already. The checksums are sent last.

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
    """Return every cluster of that name or tag.

    Raises:
        DeploymentError: there is none.
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
    """Return the logs of a deployment, of these kinds."""
    state = next((each for each in status(session, name) if each.ours), None)
    if state is None:
        raise DeploymentError(f"the cluster {name!r} is none of ours, and so has no logs of ours", Exit.NOT_FOUND)
    return session.call(lambda: list(session.cloud.logs(state, kinds)), "reading logs")


def down(session: Session, name: str, *, models: bool = False) -> list[str]:
    """Cancel the runs of a deployment, delete it and nothing else, and return what was deleted.

    models: delete models and data too.
    """
    return remove(session, name, models=models).deleted


def remove(session: Session, name: str, *, models: bool = False) -> Removal:
    """Do what `down` does, and return what was kept too."""
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
    for run_id in _active_runs(session, name):  # also on clusters of their own, which would go on and bill
        session.cancel(run_id)
    deleted = [session.delete(each, Deadline.after(session.clock, DELETE_S)) for each in states]
    deleted += session.call(lambda: list(session.cloud.delete_others(name)), "deleting notebooks")
    roots = list(dict.fromkeys(filter(None, [*(each.root for each in states), session.cloud.root(name)])))
    kept_folders = list[str]()
    for root in roots:
        to_delete, to_keep = _divide_folders(session, root, models=models)
        deleted += _delete_folders(session, root, to_delete, delete_owner=not to_keep)
        kept_folders += [f"{root}/{each}" for each in to_keep]
    return Removal(deleted, kept_folders, bool(roots))


def init_script(cloud: str) -> Path:
    """Return the path of the script that prepares a node, in the installed package or in the repository."""
    installed = Path(__file__).parent / "init-scripts" / f"{cloud}.sh"
    return installed if installed.exists() else Path(__file__).parents[1] / "init-scripts" / f"{cloud}.sh"


def nodes_of(cluster: Cluster) -> str:
    """Return the nodes of a cluster as text, such as "1 x g5.2xlarge, 2 x g5.4xlarge"."""
    workers = cluster.workers + cluster.options.spot_workers
    driver = f"1 x {cluster.driver_node_type}"
    return f"{driver}, {workers} x {cluster.node.node_type}" if workers else driver


def cost(state: ClusterState, price: str) -> str:
    """Return what a running cluster costs, as a sentence. The user gives the price; we have no price list."""
    until = f"until `down`, or {state.idle_minutes} minutes without work" if state.idle_minutes else "until `down`"
    return f"{state.nodes} bill{f' {price} an hour,' if price else ''} {until}."


def _active_runs(session: Session, name: str) -> list[str]:
    return session.call(lambda: list(session.cloud.active_runs(name)), "listing runs")


def _divide_folders(session: Session, root: str, *, models: bool) -> tuple[list[str], list[str]]:
    """Return the folders of a deployment to delete, and those to keep."""
    store = session.cloud.store(root)
    folders = [each for each in session.call(store.folders, f"looking into {root}") if each != ownership.FOLDER]
    to_keep = [] if models else [each for each in folders if each in KEPT]
    return [each for each in folders if each not in to_keep], to_keep


def _delete_folders(session: Session, root: str, folders: Sequence[str], *, delete_owner: bool) -> list[str]:
    store = session.cloud.store(root)
    # The owner's name is deleted last, and stays as long as any folder stays.
    for each in [*folders, *([ownership.FOLDER] if delete_owner else [])]:
        session.call(lambda folder=each: store.delete(folder), f"deleting {root}/{each}")  # type: ignore[misc]
    return [f"{root}/{each}" for each in folders]


def _check_fit(deployment: Deployment) -> list[Check]:
    """Check whether the model fits on a node, if the user named a model. Sends no request."""
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
