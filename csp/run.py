"""The verb `run`: run a notebook or a Python file as a job, on the deployment's cluster or on one of its own. Laptop.

`run` sends the source, submits the run and shows its state and output until it ends. An idempotency token keeps a retry
from starting a second run. Then `run` fetches the executed notebook and the files in the run's folder of results. If
the laptop stops or loses its network, the run goes on: its id is enough to wait for it again.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csp import ownership
from csp.cloud import ClusterState, Deployment, Exit, RunPhase, RunRequest, RunState
from csp.cloud_session import POLL_S, Session, check_name, duration, retried
from csp.deployer import require, send, status
from server_utils.errors import ConfigurationError, DeploymentError, SidecarError
from server_utils.host.deadline import Deadline
from server_utils.host.files import replacement
from server_utils.storage.manifest import bad_name
from server_utils.storage.stores.base import ObjectNotFoundError, Store, TransientError

TIMEOUT_S = 6 * 3600.0
_CLEAN_UP_S = 600.0  # after the cloud's own limit on a run
SUFFIXES = (".ipynb", ".py")
_NOT_DONE = frozenset({RunPhase.SKIPPED, RunPhase.CANCELLED, RunPhase.TIMED_OUT})


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        files: the files that were fetched to this laptop.
        unfetched: why some files were not fetched; "" if nothing is missing.
    """

    state: RunState
    files: tuple[Path, ...] = ()
    unfetched: str = ""

    @property
    def exit_code(self) -> Exit:
        """The exit code of the command."""
        if self.state.phase is RunPhase.SUCCEEDED:
            return Exit.REFUSED if self.unfetched else Exit.DONE
        return Exit.RUN_NOT_DONE if self.state.phase in _NOT_DONE else Exit.RUN_FAILED


def run(
    session: Session,
    name: str,
    source: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    own_cluster: Deployment | None = None,
    out: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Result:
    """Run a notebook or a Python file, wait for its end, and fetch its results.

    Args:
        session: the cloud and the user.
        name: of the deployment.
        source: an .ipynb or .py file of this laptop.
        parameters: of the notebook, or options of the program. `results`, the folder to write to, is added.
        own_cluster: describes a new cluster for this run; None runs on the deployment's cluster, which must be ready.
        out: local folder for the results; None fetches nothing.
        timeout_s: seconds after which the cloud ends the run.

    Raises:
        ConfigurationError: there is no such file, or it is of another kind.
        DeploymentError: the run could not be started or followed. A run that fails is a result and no error.
    """
    check_name(name)
    check_source(source)
    cluster = None if own_cluster else _ready(session, name)
    if own_cluster:
        require(session, own_cluster)
        send(session, own_cluster)
    choices = _choices(session, own_cluster) if own_cluster else [None]
    for number, choice in enumerate(choices, start=1):
        token = uuid.uuid4().hex
        root = cluster.root if cluster else session.cloud.root(name)
        results = f"{root}/runs/{token}"
        all_parameters = {**(parameters or {}), "results": results}
        request = RunRequest(name, source, all_parameters, results, token, int(timeout_s), cluster, choice)
        result = follow(session, _submit(session, request), name=name, out=out, timeout_s=timeout_s)
        if not result.state.no_capacity or number == len(choices):
            return result
        session.report.say(f"{result.state.detail}. Trying choice {number + 1} of {len(choices)}.")
    raise AssertionError("unreachable: there is a choice, and the last one returns")


def _choices(session: Session, own_cluster: Deployment) -> Sequence[Deployment]:
    """Return the choices for a run's own cluster. The next one is tried if the cloud has no capacity."""
    candidates = session.call(lambda: list(session.cloud.candidates(own_cluster)), "listing what to try")
    return [dataclasses.replace(own_cluster, clusters=(each,)) for each in candidates]


def follow(
    session: Session, run_id: str, *, name: str, out: Path | None = None, timeout_s: float = TIMEOUT_S
) -> Result:
    """Wait for the end of a submitted run, also of one from another laptop, and fetch its results."""
    again = f"`{session.line('run', name)} --resume {run_id}` waits for it again"
    end = f"`{session.line('run', name)} --cancel {run_id}` ends it"
    deadline = Deadline.after(session.clock, timeout_s + _CLEAN_UP_S)
    try:
        state = _wait(session, run_id, deadline)
    except KeyboardInterrupt:
        raise DeploymentError(
            f"stopped by Ctrl-C. Run {run_id} goes on, and its cluster bills; {again}, {end}, "
            f"`{session.line('down', name)}` ends it and removes the deployment",
            Exit.INTERRUPTED,
        ) from None
    except DeploymentError as error:
        raise DeploymentError(f"{error}. Run {run_id} may go on: {again}, {end}", error.exit_code) from None
    return _with_files(session, state, out, again) if out else Result(state)


def check_source(source: Path) -> None:
    """Refuse a file that is neither a notebook nor a program, by its name and content.

    Raises:
        ConfigurationError: names the file, and says what is wrong with it.
    """
    if source.suffix not in SUFFIXES:
        raise ConfigurationError(f"{source} is neither a notebook (.ipynb) nor a Python file (.py)")
    if not source.is_file():
        raise ConfigurationError(f"there is no file {source}; give the path of a notebook or a Python file")
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source} is no text in UTF-8: {error}; save it as UTF-8") from None
    if source.suffix == ".ipynb":
        _check_notebook(source, text)


def _check_notebook(source: Path, text: str) -> None:
    try:
        _ = [each["cell_type"] for each in json.loads(text)["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{source} is no notebook of format 4: {error!r}; save it again in Jupyter, or give its .py file"
        ) from None


def _ready(session: Session, name: str) -> ClusterState:
    """Return the deployment's cluster, which must have our tag and all its workers."""
    ours = [each for each in status(session, name) if each.ours]
    ownership.check(session, name, ours)
    if ready := [each for each in ours if each.is_ready]:
        return ready[0]
    now = f"is {ours[0].phase} with {ours[0].ready} of {ours[0].workers} workers" if ours else "is none of ours"
    raise DeploymentError(
        f"the cluster of {name!r} {now}; `{session.line('up', name)}` with its options starts it and waits for it, and "
        "--own-cluster needs none",
        Exit.NOT_FOUND,
    )


def _submit(session: Session, request: RunRequest) -> str:
    request_may_have_arrived = False  # a submission whose answer was lost may still have started the run

    def submit() -> str:
        nonlocal request_may_have_arrived
        try:
            return session.cloud.submit(request)
        except TransientError:
            request_may_have_arrived = True
            raise

    try:
        run_id = session.call(submit, "submitting the run")
    except DeploymentError as error:
        if not request_may_have_arrived:
            raise
        raise DeploymentError(
            f"{error}. The run may go on and bill: `{session.line('down', request.name)}` ends it and removes the "
            "deployment",
            Exit.TIMEOUT,
        ) from None
    except KeyboardInterrupt:
        raise DeploymentError(
            "stopped by Ctrl-C while the run was submitted; it may run and bill, and the page of jobs shows it. "
            f"`{session.line('down', request.name)}` ends it and removes the deployment",
            Exit.INTERRUPTED,
        ) from None
    session.report.say(f"Run {run_id} of {request.source.name} is submitted; results go to {request.results}.")
    return run_id


def _wait(session: Session, run_id: str, deadline: Deadline) -> RunState:
    shown, page = 0, ""
    while True:
        state, text = _poll(session, run_id, deadline)
        if state.page != page:
            page = state.page
            session.report.say(f"Its page: {page}")
        session.report.output(text[shown:])
        shown = max(shown, len(text))
        if state.phase.is_final:
            return state
        session.report.wait(f"run {run_id}: {state.phase}, {duration(deadline.elapsed_s)}: {state.detail}")
        if deadline.is_over:
            raise DeploymentError(
                f"run {run_id} is still {state.phase} after {duration(deadline.elapsed_s)}", Exit.TIMEOUT
            )
        session.clock.pause(POLL_S)


def _poll(session: Session, run_id: str, deadline: Deadline) -> tuple[RunState, str]:
    """Read the state first and then the output, so that no output from before the end is missed."""

    def poll() -> tuple[RunState, str]:
        state = session.cloud.run_state(run_id)
        return state, session.cloud.run_output(run_id)

    return retried(
        poll, what=f"asking {session.cloud.place} for the run", report=session.report, deadline=lambda: deadline
    )


def _with_files(session: Session, state: RunState, out: Path, again: str) -> Result:
    """Fetch the files, and return the result. A file that cannot be fetched does not change how the run ended."""
    fetched: list[Path] = []
    try:
        for path in _fetch(session, state, out):
            fetched.append(path)  # noqa: PERF402 - the files before an error stay in the list
    except KeyboardInterrupt:
        raise DeploymentError(
            f"stopped by Ctrl-C. Run {state.run_id} has ended, {state.phase}, and not all of its results are here; "
            f"{again}",
            Exit.INTERRUPTED,
        ) from None
    except (SidecarError, OSError) as error:  # the disk of this laptop may be full
        place = f"they are in {state.results}, and " if state.results else ""
        unfetched = f"{error}. Not all results are here; {place}{again}"
        session.report.say(f"Run {state.run_id} has ended, {state.phase}. {unfetched}")
        return Result(state, tuple(fetched), unfetched)
    return Result(state, tuple(fetched))


def _fetch(session: Session, state: RunState, out: Path) -> Iterator[Path]:
    """Fetch the files of the folder of results, and then the executed notebook, whose export may be refused."""
    out.mkdir(parents=True, exist_ok=True)
    if state.results:
        store = session.cloud.store(state.results)
        for key, size in session.call(lambda: sorted(store.names()), "listing results"):
            session.call(lambda key=key, size=size: _download(store, key, size, out), f"fetching {key}")  # type: ignore[misc]
            yield out / key
    executed = session.call(lambda: session.cloud.executed(state.run_id), "fetching the executed notebook")
    for name, content in executed.items():
        if wrong := bad_name(name):
            raise DeploymentError(f"the executed notebook cannot be written: {wrong}")
        (out / name).write_bytes(content)
        yield out / name


def _download(store: Store, key: str, size: int, out: Path) -> None:
    """Fetch an object into a file. The file gets its name when it is complete.

    Raises:
        TransientError: the object arrived only in part.
        DeploymentError: the object does not exist any more, or its name is not safe as a file name.
    """
    if wrong := bad_name(key):
        raise DeploymentError(f"a result cannot be fetched: {wrong}; it stays in {store.url}")
    path = out / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path) as beside:
        with beside.open("wb") as file:
            try:
                if size:
                    store.fetch(key, 0, size, file.write)
            except ObjectNotFoundError:
                raise DeploymentError(f"{key} was deleted from {store.url} while it was fetched") from None
        if (received := beside.stat().st_size) != size:
            raise TransientError(f"{received} of {size} bytes came")
