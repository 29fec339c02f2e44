"""The verb `up`: make a cluster, or adopt the existing one, and wait until every worker is ready. Laptop.

The steps in order: find the existing cluster by its tag; run the free checks; send the missing files; make the cluster;
wait. `up` explains why a cluster failed and deletes it, unless the user keeps it. If the cloud has no capacity, `up`
tries the next candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

from csp import ownership
from csp.cloud import ClusterState, Deployment, Difference, Exit, Failure, Phase
from csp.cloud_session import POLL_S, UNREACHABLE_S, Session, check_name, duration, retried
from csp.deployer import nodes_of, require, send
from server_utils.clusters.cluster import Cluster
from server_utils.errors import DeploymentError, SidecarError
from server_utils.host.deadline import Deadline

TIMEOUT_S = 3600.0
_BEING_DELETED = "It is being deleted"
_USABLE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPED})


class ClusterFailedError(DeploymentError):
    """A cluster did not become ready. failure: the reason."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure

    def deleted(self) -> ClusterFailedError:
        """Return the same error with a message that says that the cluster is deleted."""
        message = str(self).replace(_BEING_DELETED, "It is deleted, and nothing bills", 1)
        return ClusterFailedError(message, self.failure)


def up(
    session: Session,
    deployment: Deployment,
    *,
    timeout_s: float = TIMEOUT_S,
    keep: bool = False,
    replace: bool = False,
) -> ClusterState:
    """Make the cluster, or adopt the existing one, and wait until every worker is ready.

    Args:
        session: the cloud and the user.
        deployment: the requested deployment.
        timeout_s: seconds for the whole verb.
        keep: do not delete a cluster that failed.
        replace: delete the existing cluster of the deployment if it differs from the requested one.

    Raises:
        DeploymentError: the message says what exists now and how to go on; `exit_code` tells the kinds apart.
    """
    check_name(deployment.name)
    attempt = _Up(session, deployment, Deadline.after(session.clock, timeout_s), keep=keep)
    try:
        return attempt.adopt(replace=replace) or attempt.make()
    except KeyboardInterrupt:
        raise DeploymentError(f"stopped by Ctrl-C. {attempt.now()}", Exit.INTERRUPTED) from None


class _Up:
    """One call of `up`: the requested deployment, the deadline, and the cluster so far."""

    def __init__(self, session: Session, deployment: Deployment, deadline: Deadline, *, keep: bool) -> None:
        self._session, self._deployment, self._deadline, self._keep = session, deployment, deadline, keep
        self._cloud, self._report = session.cloud, session.report
        self._made: ClusterState | None = None
        self._request_may_have_arrived = False  # a create or start whose answer was lost may still have worked
        self._tried: list[Cluster] = []  # the candidates that equal an adopted cluster

    def adopt(self, *, replace: bool) -> ClusterState | None:
        """Wait for the existing cluster; return None if one is to be made."""
        state = self._made = self._wait_for_end(self._existing())
        if state is None:
            return None
        different = self._differences(state)
        if state.phase in _USABLE and not replace:
            _refuse_different(state, different)
        if state.phase not in _USABLE or (different and replace):
            self._delete_existing(state)
            self._tried = []  # a new cluster may be any candidate
            return None
        self._report.say(
            f"Adopting cluster {state.name} ({state.cluster_id}), which is {state.phase}.{_notice(different)}"
        )
        if state.phase is Phase.STOPPED:
            send(self._session, self._deployment)
            self._start(state)
        try:
            return self._wait_or_delete(state.cluster_id)
        except ClusterFailedError as error:
            if not error.failure.no_capacity or not self._untried():
                raise
            self._report.say(f"{error.failure.reason}. Trying another choice.")
            return None

    def make(self) -> ClusterState:
        """Run the checks, send the files and make a cluster; try the next candidate if there is no capacity."""
        require(self._session, self._deployment)
        send(self._session, self._deployment)
        candidates = self._untried()
        for number, cluster in enumerate(candidates, start=1):
            self._report.say(f"Creating {self._deployment.name}: {nodes_of(cluster)}.")
            try:
                return self._wait_or_delete(self._create(cluster))
            except ClusterFailedError as error:
                if not error.failure.no_capacity or number == len(candidates):
                    raise
                self._report.say(f"{error.failure.reason}. Trying choice {number + 1} of {len(candidates)}.")
        raise AssertionError("unreachable: there is a candidate, and the last one returns or raises")

    def now(self) -> str:
        """Say what exists and bills now, and how to go on or remove it."""
        name, line = self._deployment.name, self._session.line
        if self._made:
            return (
                f"Cluster {name} ({self._made.cluster_id}, {self._made.nodes}) is {self._made.phase}"
                f"{' and bills' if self._made.bills else ''}. Run the same command again to go on; "
                f"`{line('down', name)}` removes it"
            )
        if self._request_may_have_arrived:
            return f"A cluster may be there: `{line('status', name)}` shows it, `{line('down', name)}` removes it"
        return "No cluster was made, and nothing bills. Run the same command again to go on"

    def _existing(self) -> ClusterState | None:
        states = self._session.find(self._deployment.name)
        _refuse_untagged([each for each in states if not each.ours and each.bills])
        ours = [each for each in states if each.ours]
        if ours:  # without a cluster, the first upload checks the owner
            ownership.check(self._session, self._deployment.name, ours)
        if len(ours) > 1:
            raise DeploymentError(
                f"{len(ours)} clusters have the tag of {self._deployment.name!r}: "
                f"{', '.join(each.cluster_id for each in ours)}. `{self._session.line('down', self._deployment.name)}` "
                "deletes them all; then run this again"
            )
        return ours[0] if ours else None

    def _wait_for_end(self, state: ClusterState | None) -> ClusterState | None:
        """Wait while a cluster is ending. Then it can be started again, or does not exist any more."""
        while state and state.phase is Phase.DELETING:
            self._made = state
            self._report.wait(f"ending: {state.detail}; {duration(self._deadline.elapsed_s)}")
            if self._deadline.is_over:
                raise self._late(state)
            self._deadline.clock.pause(POLL_S)
            state = self._poll(state.cluster_id)
        return state

    def _candidates(self) -> Sequence[Cluster]:
        return self._session.call(lambda: self._cloud.candidates(self._deployment), "listing what to try")

    def _untried(self) -> Sequence[Cluster]:
        return [each for each in self._candidates() if each not in self._tried]

    def _differences(self, state: ClusterState) -> Sequence[Difference]:
        """Return the differences from the candidate with the same nodes and files; without one, from the first."""
        candidates = self._candidates()

        def compare() -> list[Sequence[Difference]]:
            return [self._cloud.differences(state, self._deployment, each) for each in candidates]

        different = self._session.call(compare, "comparing the cluster")
        same = [at for at, differs in enumerate(different) if all(each.is_setting for each in differs)]
        self._tried = [candidates[at] for at in same]
        return different[same[0] if same else 0]

    def _delete_existing(self, state: ClusterState) -> None:
        """Delete the existing cluster. If it failed, explain it first, and keep it if the user says so."""
        if state.phase is Phase.FAILED:
            failed = self._failed(state)
            if self._keep and not failed.failure.no_capacity:
                raise failed
            self._report.say(f"{failed}")
        self._delete(state)

    def _start(self, state: ClusterState) -> None:
        """Start a stopped cluster. Before a second try, check whether the first request has arrived."""

        def start() -> None:
            now = self._cloud.state(state.cluster_id) if self._request_may_have_arrived else state
            if now and now.phase is not Phase.STOPPED:
                return
            self._request_may_have_arrived = True
            self._cloud.start(state)

        try:
            self._session.call(start, "starting the cluster")
        except DeploymentError as error:
            raise DeploymentError(
                f"{error}. Cluster {state.name} ({state.cluster_id}) may start now, and then bills: "
                f"`{self._session.line('status', state.name)}` shows it, "
                f"`{self._session.line('down', state.name)}` removes it",
                error.exit_code,
            ) from None

    def _create(self, cluster: Cluster) -> str:
        """Make a cluster. Before a second try, check whether the first request has arrived."""

        def create() -> str:
            earlier_request_may_have_arrived = self._request_may_have_arrived
            if earlier_request_may_have_arrived and (state := self._existing()):
                return state.cluster_id
            self._request_may_have_arrived = True
            try:
                return self._cloud.create(self._deployment, cluster)
            except DeploymentError:  # a refusal: this request made no cluster
                self._request_may_have_arrived = earlier_request_may_have_arrived
                raise

        try:
            cluster_id = self._session.call(create, "creating the cluster")
        except DeploymentError as error:
            if not self._request_may_have_arrived:
                raise
            raise DeploymentError(f"{error}. {self.now()}", Exit.TIMEOUT) from None
        self._made = ClusterState(cluster_id, self._deployment.name, Phase.STARTING, nodes=nodes_of(cluster))
        return cluster_id

    def _wait_or_delete(self, cluster_id: str) -> ClusterState:
        try:
            return self._wait(cluster_id)
        except ClusterFailedError as error:
            if not self._made or (self._keep and not error.failure.no_capacity):
                raise
            self._report.say(f"{error}")  # the deletion may fail, or be interrupted
            self._delete(self._made)
            raise error.deleted() from None

    def _wait(self, cluster_id: str) -> ClusterState:
        while True:
            state = self._state(cluster_id)
            if state.is_ready:
                return state
            if state.phase not in {Phase.STARTING, Phase.RUNNING}:
                raise self._failed(state)
            self._report.wait(_progress(state, self._deadline.elapsed_s))
            if self._deadline.is_over:
                raise self._late(state)
            self._deadline.clock.pause(POLL_S)

    def _poll(self, cluster_id: str) -> ClusterState | None:
        what, report, deadline = f"asking {self._cloud.place} for the state", self._report, self._deadline
        try:
            return retried(lambda: self._cloud.state(cluster_id), what=what, report=report, deadline=lambda: deadline)
        except DeploymentError as error:  # the cloud is unreachable or refuses: the cluster goes on
            raise DeploymentError(f"{error}. {self.now()}", error.exit_code) from None

    def _state(self, cluster_id: str) -> ClusterState:
        state = self._poll(cluster_id)
        if state is None:
            self._made = None
            raise DeploymentError(f"cluster {cluster_id} was deleted by somebody else while it started")
        self._made = state
        return state

    def _failed(self, state: ClusterState) -> ClusterFailedError:
        try:
            failure = self._session.call(lambda: self._cloud.failure(state), "asking why")
        except SidecarError as error:  # the cluster still exists, and is deleted like every failed one
            failure = Failure("UNKNOWN", state.detail, f"Its cause could not be read: {error}")
        kept = f"It is kept: `{self._session.line('down', state.name)}` removes it"
        outcome = kept if self._keep and not failure.no_capacity else _BEING_DELETED
        log = f"\nThe init script's log ends:\n{failure.log}" if failure.log else ""
        return ClusterFailedError(
            f"cluster {state.name} ({state.cluster_id}) failed, {failure.code}: {failure.reason}. {failure.fix}. "
            f"{outcome}.{log}",
            failure,
        )

    def _late(self, state: ClusterState) -> DeploymentError:
        workers = f" with {state.ready} of {state.workers} workers" if state.phase is Phase.RUNNING else ""
        return DeploymentError(
            f"after {duration(self._deadline.elapsed_s)} the cluster is {state.phase}{workers}: {state.detail}. "
            f"{self.now()}, and a longer --timeout waits longer",
            Exit.TIMEOUT,
        )

    def _delete(self, state: ClusterState) -> None:
        """Delete a failed or a different cluster: it would stay in the list of clusters, and in some clouds bill."""
        self._session.delete(state, Deadline.after(self._deadline.clock, UNREACHABLE_S))
        self._made, self._request_may_have_arrived = None, False


def _refuse_untagged(clusters: Sequence[ClusterState]) -> None:
    for each in clusters:
        raise DeploymentError(
            f"there is a cluster {each.name!r} ({each.cluster_id}, made by {each.owner or 'somebody'}) that is no "
            "deployment of ours; nothing was made. Choose another --name",
            Exit.TAKEN,
        )


def _refuse_different(state: ClusterState, different: Sequence[Difference]) -> None:
    decisive = [each for each in different if not each.is_setting]
    if not decisive:
        return
    raise DeploymentError(
        f"{state.name!r} ({state.cluster_id}) is there, and is another cluster: {_texts(decisive)}. It was "
        "not changed. Give --replace to delete it and make this one, or choose another --name",
    )


def _notice(settings: Sequence[Difference]) -> str:
    """Say which settings of an adopted cluster differ from the requested ones; "" for none."""
    return f" It stays as it is, although {_texts(settings)}; --replace makes it anew." if settings else ""


def _texts(different: Sequence[Difference]) -> str:
    return "; ".join(each.text for each in different)


def _progress(state: ClusterState, elapsed_s: float) -> str:
    detail = f": {state.detail}" if state.detail else ""
    return f"{state.phase}, workers {state.ready} of {state.workers}, {duration(elapsed_s)}{detail}"
