"""The session of a verb: the cloud, the progress report, the owner, and how calls to the cloud are retried. Laptop."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, TypeVar

from csp.cloud import Cloud, ClusterState, Exit, Phase, RunState
from server_utils.errors import ConfigurationError, DeploymentError
from server_utils.host.deadline import Clock, Deadline
from server_utils.storage.stores.base import (
    ChangedError,
    ObjectNotFoundError,
    TransientError,
    growing_pauses,
    retry_until,
)

_T = TypeVar("_T")
POLL_S = 10.0
UNREACHABLE_S = 300.0  # after the first failure of a single step
CANCEL_S = 600.0  # the run's own cluster ends within this time too
_LONGEST_PAUSE_S = 20.0
_ENDED = frozenset({Phase.STOPPED, Phase.FAILED})
_CHANGING = frozenset({"up", "run", "down"})  # the verbs that have --owner
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,49}[a-z0-9])?")


class Report(Protocol):
    """The progress report of a command. The result of the command is not part of it."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def wait(self, text: str) -> None:
        """Show the state of a wait. It replaces the last one if the screen can do that."""

    def output(self, text: str) -> None:
        """Show the output of a run, unchanged."""


def retried(
    call: Callable[[], _T],
    *,
    what: str,
    report: Report,
    deadline: Callable[[], Deadline],
    late: Exit = Exit.TIMEOUT,
) -> _T:
    """Call until it works or the deadline is over. So a wait survives a network that is lost for a while.

    Args:
        call: a step of the cloud.
        what: names the step in messages.
        report: shows each retry.
        deadline: is called at the first failure.
        late: the exit code of a step that did not work in time.

    Raises:
        DeploymentError: it did not work the last time either, or a file, bucket or volume does not exist.
    """
    begun = cache(deadline)

    def show(error: TransientError, wait_s: float) -> None:
        report.wait(f"{what}: {error}; again in {wait_s:.0f} s")

    try:
        pauses_s = growing_pauses(1.0, longest_s=_LONGEST_PAUSE_S)
        return retry_until(begun, call, pauses_s=pauses_s, before_pause=show)
    except TransientError as error:
        raise DeploymentError(
            f"{what}: {error}; tried for {duration(begun().elapsed_s)}. Check the network, then run it again", late
        ) from None  # its cause may hold secrets
    except ObjectNotFoundError as error:
        raise DeploymentError(
            f"{what}: it is not there: {error}. Look whether the bucket or volume still exists and has this name"
        ) from None
    except ChangedError as error:
        raise DeploymentError(f"{what}: somebody else writes {error} now. Run the same command again") from None


def duration(seconds: float) -> str:
    """Return seconds as text for people: 45 s, 12 min, 1 h 5 min."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004 - minutes


@dataclass(frozen=True)
class Session:
    """The context of one command. owner: of the deployments that it changes; None for the signed-in user."""

    cloud: Cloud
    report: Report
    owner: str | None = None
    clock: Clock = field(default_factory=Clock)

    def delete(self, state: ClusterState, deadline: Deadline) -> str:
        """Delete a cluster, wait until it does not exist any more, and return its name and id as text."""
        self.report.say(f"Deleting cluster {state.name} ({state.cluster_id}).")
        if state.phase is not Phase.DELETING:  # clouds refuse a second deletion
            self.call(lambda: self.cloud.delete(state), f"deleting cluster {state.name}")
        before = state.phase
        while now := self.call(lambda: self.cloud.state(state.cluster_id), "asking for its state"):
            if now.phase is not before and now.phase in _ENDED:  # it only ended, or its deletion failed
                self.call(lambda now=now: self.cloud.delete(now), f"deleting cluster {state.name}")  # type: ignore[misc]
                before = now.phase
                continue
            before = now.phase
            if deadline.is_over:
                raise DeploymentError(
                    f"cluster {state.name} ({state.cluster_id}) is still there after {duration(deadline.elapsed_s)}: "
                    f"{now.detail}. It may bill; run `{self.line('down', state.name)}` again",
                    Exit.TIMEOUT,
                )
            self.report.wait(f"deleting: {now.detail}; {duration(deadline.elapsed_s)}")
            self.clock.pause(POLL_S)
        return f"cluster {state.name} ({state.cluster_id})"

    def cancel(self, run_id: str) -> RunState:
        """Cancel a run, wait until it has ended, and return its last state."""
        deadline = Deadline.after(self.clock, CANCEL_S)
        state = self._run_state(run_id)
        if not state.phase.is_final:
            self.report.say(f"Cancelling run {run_id}.")
            self.call(lambda: self.cloud.cancel(run_id), f"cancelling run {run_id}")
            state = self._run_state(run_id)
        while not state.phase.is_final:
            if deadline.is_over:
                raise DeploymentError(
                    f"run {run_id} is still {state.phase} {duration(deadline.elapsed_s)} after it was cancelled: "
                    f"{state.detail}. Its cluster may bill; its page shows more: {state.page or 'there is none'}",
                    Exit.TIMEOUT,
                )
            self.report.wait(f"cancelling: run {run_id} is {state.phase}; {duration(deadline.elapsed_s)}")
            self.clock.pause(POLL_S)
            state = self._run_state(run_id)
        return state

    def _run_state(self, run_id: str) -> RunState:
        return self.call(lambda: self.cloud.run_state(run_id), f"asking for run {run_id}")

    def find(self, name: str) -> list[ClusterState]:
        """Return every cluster of that name or tag; none is no error."""
        return list(self.call(lambda: self.cloud.find(name), "looking for the deployment"))

    def call(self, step: Callable[[], _T], what: str) -> _T:
        """Do one step of the cloud, with retries."""
        return retried(
            step,
            what=f"{what} in {self.cloud.place}",
            report=self.report,
            deadline=lambda: Deadline.after(self.clock, UNREACHABLE_S),
            late=Exit.REFUSED,
        )

    def line(self, verb: str, name: str) -> str:
        """Return the command line of a verb, for a user to copy. It names the place, as another shell may not."""
        options = f" {self.cloud.options}" if self.cloud.options else ""
        owner = f" --owner {shlex.quote(self.owner)}" if self.owner and verb in _CHANGING else ""
        return f"spark-sidecar {self.cloud.command} {verb} --name {name}{options}{owner}"


def check_name(name: str) -> None:
    """Refuse a name that not every cloud accepts.

    Raises:
        ConfigurationError: with the rule.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name of a deployment: at most 51 lower-case letters, digits and hyphens, a letter first"
        )
