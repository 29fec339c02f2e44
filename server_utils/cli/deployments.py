"""The commands `databricks` and `dataproc`: plan, up, run, status, logs and down of a deployment. Laptop.

The verbs are here once. What differs between clouds is a `CloudCommands` of `clouds.py`: the options that say where,
those of the cluster, and how to connect. The options of a cluster are those of the command `cluster`, by their names.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server_utils.cli import define_cluster
from server_utils.cli.deployment_output import print_cluster, print_logs, print_plan, print_result, print_state
from server_utils.cli.output import AsJson, print_json, print_rows, print_text
from server_utils.cli.progress import Progress
from server_utils.errors import ConfigurationError, DeploymentError

if TYPE_CHECKING:
    from csp.cloud import Cloud, Deployment
    from csp.cloud_session import Session
    from csp.run import Result

Given = Mapping[str, Any]
Body = Callable[["Session", Given, "Deployment"], None]
_CLUSTER = inspect.signature(define_cluster.cluster, eval_str=True).parameters
_COMMON = ("framework", "workers", "runtime", "rapids", "conf", "env", "tag", "idle_minutes")
_OWN_NODE = ("node_type", "gpus", "vcpus", "ram_gib", "gpu_memory_gib", "allow_undocumented")
_MINUTES = 60
_DOWNLOADS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
_INTERRUPTED = 130  # csp.cloud.Exit.INTERRUPTED
_LOGS = ("driver", "init", "executor", "server")


def option(name: str, kind: Any, text: str, *, default: Any = None, env: str | None = None) -> inspect.Parameter:
    """An option of a command: --name of a kind; an environment variable may give it too."""
    annotation = Annotated[kind, typer.Option("--" + name.replace("_", "-"), envvar=env, help=text)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_JSON = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
_NAME = option("name", str, "Name of the deployment, and of its cluster.", default="spark-sidecar")
_OWNER = option("owner", str | None, "Whose deployment to change; default: yours.")
_PRICE = option(
    "price", str, "What an hour of the cluster costs you, such as '3.20 USD': shown, never computed.", default=""
)
_TIMEOUT = option("timeout", float, "Minutes to wait.", default=60.0)
_RUN_TIMEOUT = option("timeout", float, "Minutes after which the cloud ends the run.", default=360.0)
_SHAPES = option(
    "shape",
    list[str] | None,
    "The nodes, such as l4x1 (`spark-sidecar shapes`); more are tried in turn where there is no capacity.",
)
_ZONES = option("zone", list[str] | None, "Zone of the nodes; more are tried in turn where there is no capacity.")
_SOURCES = (
    option("bundle", Path | None, "Folder of `spark-sidecar wheelhouse build`: nodes then need no package index."),
    option("wheel", Path | None, "Our wheel; default: built from the source that is running."),
    option(
        "download", list[str] | None, "KEY=VALUE for nodes: UV_DEFAULT_INDEX, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE."
    ),
)
_MODEL = (
    option("model", str | None, "Check that this language model fits, as `spark-sidecar fit` does."),
    option("context", int, "With --model: tokens of a prompt and its answer.", default=6600),
)


@dataclass(frozen=True)
class CloudCommands:
    """What of the commands is one cloud's.

    Attributes:
        where: the options that say where it works.
        cluster: the names of the options of `spark-sidecar cluster` that this cloud has, beside the common ones.
        connect: from the options `where`; imports the cloud's package and SDK.
        platform: the name of the platform, as `spark-sidecar shapes` knows it.
        more: other commands: name -> what it does with a session, the options and the deployment; and its own options.
    """

    name: str
    help: str
    where: Sequence[inspect.Parameter]
    cluster: Sequence[str]
    connect: Callable[[Given], Cloud]
    platform: Callable[[Given, Cloud], str]
    more: Mapping[str, tuple[Body, Sequence[inspect.Parameter]]] = field(default_factory=dict)


def app_of(cloud: CloudCommands) -> typer.Typer:
    """The sub-command of a cloud."""
    app = typer.Typer(no_args_is_help=True, help=cloud.help)
    where, wanted = [*cloud.where, _NAME], _wanted(cloud)
    _add(app, cloud, "plan", _plan, [*where, *wanted, _PRICE, _CHECK, _JSON])
    _add(app, cloud, "up", _up, [*where, *wanted, _PRICE, *_UP, _OWNER, _TIMEOUT, _JSON])
    _add(app, cloud, "run", _run, [_SOURCE, *where, *_RUN, *wanted, _OWNER, _RUN_TIMEOUT, _JSON])
    _add(app, cloud, "status", _status, [*where, _PRICE, _JSON])
    _add(app, cloud, "logs", _logs, [*where, _KIND, _JSON])
    _add(app, cloud, "down", _down, [*where, _MODELS, _OWNER, _JSON])
    for verb, (body, own) in cloud.more.items():
        _add(app, cloud, verb, _with_deployment(body), [*own, *where, *wanted, _JSON])
    return app


_CHECK = option("check", bool, "Check too, for free, what could be refused.", default=False)
_UP = (
    option("keep", bool, "Leave a cluster that failed.", default=False),
    option("replace", bool, "Delete a cluster of this deployment that is another one than is wanted.", default=False),
    option("dry_run", bool, "As `plan`: show what would be made, and touch nothing.", default=False),
)
_SOURCE = inspect.Parameter(
    "source",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Argument(help="A notebook (.ipynb) or a Python file (.py).")],
)
_RUN = (
    option("out", Path, "Local folder for the executed notebook and the results.", default=Path("results")),
    option("parameter", list[str] | None, "KEY=VALUE for the notebook or the program; may be repeated."),
    option("own_cluster", bool, "Run on a cluster of its own, which ends with the run.", default=False),
    option("resume", str | None, "Wait for this run, which was submitted before."),
    option("cancel", str | None, "End this run, which was submitted before, and a cluster of its own with it."),
)
_KIND = option("kind", list[str] | None, "driver, init, executor or server; default: all.")
_MODELS = option("delete_models", bool, "Delete the models and data of the deployment too.", default=False)


def _wanted(cloud: CloudCommands) -> list[inspect.Parameter]:
    """The options that say what the cluster is. None is required: `run` needs them with --own-cluster only."""
    names = (*_COMMON, *(name for name in cloud.cluster if name != "zone"), *_OWN_NODE)
    ours = [_CLUSTER[name] for name in names]
    framework = option("framework", str | None, "The framework of the servers, such as vllm.")
    return [_SHAPES, framework, *ours[1:], _ZONES, *_SOURCES, *_MODEL]


def _add(
    app: typer.Typer,
    cloud: CloudCommands,
    verb: str,
    body: Callable[[CloudCommands, Given], None],
    parameters: Sequence[inspect.Parameter],
) -> None:
    """Add a command whose options are data."""

    def command(**given: Any) -> None:
        try:
            body(cloud, given)
        except KeyboardInterrupt:
            status = f"`spark-sidecar {cloud.name} status --name {given['name']}` shows what is there"
            raise DeploymentError(f"stopped by Ctrl-C; {status}", _INTERRUPTED) from None

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = body.__doc__
    app.command(verb)(command)


def _plan(cloud: CloudCommands, given: Given) -> None:
    """Show what `up` would make, and make nothing."""
    from csp import deployer

    with _session(cloud, given) as session:
        deployment = _deployment(cloud, given, session)
        plan = deployer.plan(session, deployment)
        checks = deployer.check(session, deployment) if given.get("check") else []
    print_plan(plan, checks, deployment.price, as_json=given["as_json"])


def _up(cloud: CloudCommands, given: Given) -> None:
    """Make the cluster, or adopt the one that is there, and wait until every worker is there."""
    from csp.deployer import cost
    from csp.up import up

    if given["dry_run"]:
        _plan(cloud, given)
        return
    with _session(cloud, given) as session:
        deployment = _deployment(cloud, given, session)
        timeout_s = given["timeout"] * _MINUTES
        state = up(session, deployment, timeout_s=timeout_s, keep=given["keep"], replace=given["replace"])
    costs = cost(state, deployment.price)
    if given["as_json"]:
        print_json(asdict(state) | {"cost": costs, "down": session.line("down", state.name)})
        return
    print_text(f"{state.name} is ready: {state.nodes}. {state.page}")
    print_text(f"{costs} Models go to {state.root}/models.")
    print_text(f"To remove it: {session.line('down', state.name)}")


def _run(cloud: CloudCommands, given: Given) -> None:
    """Run a notebook or a Python file, show its state and output, and fetch its results."""
    if given["cancel"]:
        with _session(cloud, given) as session:
            state = session.cancel(given["cancel"])
        print_state(state, as_json=given["as_json"])
        return
    with _session(cloud, given) as session:
        result = _result(cloud, given, session)
    print_result(result, as_json=given["as_json"])


def _result(cloud: CloudCommands, given: Given, session: Session) -> Result:
    from csp import run

    timeout_s = given["timeout"] * _MINUTES
    if given["resume"]:
        return run.follow(session, given["resume"], name=given["name"], out=given["out"], timeout_s=timeout_s)
    if given["source"] is None:
        raise ConfigurationError("give the path of a notebook (.ipynb) or a Python file (.py), or --resume with a run")
    run.check_source(given["source"])
    return run.run(
        session,
        given["name"],
        given["source"],
        parameters=define_cluster.pairs(given["parameter"] or [], option="--parameter"),
        own_cluster=_deployment(cloud, given, session) if given["own_cluster"] else None,
        out=given["out"],
        timeout_s=timeout_s,
    )


def _status(cloud: CloudCommands, given: Given) -> None:
    """Show the clusters of a deployment, from any laptop."""
    from csp import deployer

    with _session(cloud, given) as session:
        states = deployer.status(session, given["name"])
    if given["as_json"]:
        print_rows(states)
        return
    for each in states:
        print_cluster(each)
        if each.ours and each.bills:
            print_text(f"{deployer.cost(each, given['price'])} To remove it: {session.line('down', each.name)}")


def _logs(cloud: CloudCommands, given: Given) -> None:
    """Show the logs of the driver, of init scripts, of executors and of inference servers."""
    from csp import deployer

    kinds = given["kind"] or list(_LOGS)
    if unknown := [each for each in kinds if each not in _LOGS]:
        raise ConfigurationError(f"there are no logs of {unknown[0]!r}; --kind is {', '.join(_LOGS)}")
    with _session(cloud, given) as session:
        logs = deployer.logs(session, given["name"], kinds)
    print_logs(logs, kinds, as_json=given["as_json"])


def _down(cloud: CloudCommands, given: Given) -> None:
    """Delete a deployment, and nothing else. Models and data stay, unless they are to go too."""
    from csp import deployer

    with _session(cloud, given) as session:
        removal = deployer.remove(session, given["name"], models=given["delete_models"])
    if given["as_json"]:
        print_json({"deleted": removal.deleted})
        return
    for each in removal.deleted:
        print_text(f"Deleted {each}.")
    print_text(removal.remaining_costs)


def _with_deployment(body: Body) -> Callable[[CloudCommands, Given], None]:
    def command(cloud: CloudCommands, given: Given) -> None:
        with _session(cloud, given) as session:
            body(session, given, _deployment(cloud, given, session))

    command.__doc__ = body.__doc__
    return command


@contextmanager
def _session(cloud: CloudCommands, given: Given) -> Iterator[Session]:
    """Where the work is done. At its end the line of progress is closed, before a result or an error is printed."""
    from csp.cloud_session import Session

    # databricks-sdk 0.156 sends files by more threads than its pool keeps connections: a warning per file, no harm.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    progress = Progress(output_to_stderr=given.get("as_json", False))
    try:
        yield Session(cloud.connect(given), progress, given.get("owner"))
    finally:
        progress.close()


def _deployment(cloud: CloudCommands, given: Given, session: Session) -> Deployment:
    """What the options describe."""
    from csp.cloud import Deployment
    from csp.deployer import init_script

    if given["framework"] is None:
        raise ConfigurationError("give --framework, such as vllm, for the servers of the cluster")
    return Deployment(
        given["name"],
        tuple(_clusters(cloud, given, session)),
        _bundle(given),
        init_script(cloud.name),
        _downloads(given, cloud.platform(given, session.cloud)),
        _model(given),
        given.get("price", ""),
    )


def _clusters(cloud: CloudCommands, given: Given, session: Session) -> list[Any]:
    """A cluster for each shape and zone, in the order of the options."""
    defaults = {name: each.default for name, each in _CLUSTER.items()}
    fixed = defaults | dict(given) | {"platform": cloud.platform(given, session.cloud)}
    shapes, zones = given["shape"] or [None], given["zone"] or [None]
    return [define_cluster.defined(fixed | {"shape": shape, "zone": zone}) for shape in shapes for zone in zones]


def _bundle(given: Given) -> Path:
    """The folder with our wheel: the user's, or one that is made of the running source."""
    from server_utils.host import platform
    from server_utils.node import bundle

    folder = given["bundle"]
    if folder is None:
        return bundle.build_small(platform.home() / "wheelhouses" / "wheel-only", given["wheel"])
    if given["wheel"] is not None:
        raise ConfigurationError("a bundle contains a wheel: leave out --wheel, or --bundle")
    if not (folder / bundle.SUMS).is_file():
        raise ConfigurationError(f"{folder} is no bundle that `spark-sidecar wheelhouse build` finished: no SHA256SUMS")
    return Path(folder)


def _downloads(given: Given, platform: str) -> dict[str, str]:
    """How nodes reach the package index. It is readable where the files are, so passwords are refused."""
    from server_utils.clusters.options import check_downloads

    pairs = define_cluster.pairs(given["download"] or [], option="--download")
    if unknown := [name for name in pairs if name not in _DOWNLOADS]:
        raise ConfigurationError(f"--download has {unknown[0]}: the init script reads {', '.join(_DOWNLOADS)}")
    check_downloads(pairs, platform)
    return pairs


def _model(given: Given) -> tuple[Any, Any] | None:
    from server_utils.clusters import model_memory
    from server_utils.clusters.gpu_fit import Demand

    return (model_memory.read(given["model"]), Demand(given["context"])) if given["model"] else None
