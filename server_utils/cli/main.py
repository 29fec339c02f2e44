"""The console command `spark-sidecar`: reads arguments, calls one function, prints. Laptop and nodes; no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from server_utils.errors import SidecarError

try:
    import typer
    from typer.core import TyperGroup
except ImportError as err:
    # The wheel on a cluster goes without the extra, but its console command is there all the same.
    sys.exit(f"error: the command needs {err.name}, which is not installed: pip install 'spark-sidecar[cli]'")

from server_utils.cli import clouds, clusters, define_cluster, deployments, environments, models
from server_utils.cli.output import AsJson, escape_unencodable, print_line, print_rows, print_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_utils.node.gpu_checks import Finding


class _Commands(TyperGroup):
    """Prints an expected error as one line: its stack trace does not help the user."""

    def main(self, *args: Any, **extra: Any) -> Any:
        escape_unencodable()
        return super().main(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SidecarError as err:
            if ctx.params["debug"]:
                raise
            typer.echo(f"error: {err}", err=True)
            raise typer.Exit(err.exit_code) from err


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
assets = typer.Typer(no_args_is_help=True, help="Download the model and the text of the demo.")
app.add_typer(environments.env, name="env")
app.add_typer(environments.wheelhouse, name="wheelhouse")
app.add_typer(assets, name="assets")
app.add_typer(models.app, name="models")
for cloud in clouds.CLOUDS:
    app.add_typer(deployments.app_of(cloud), name=cloud.name)

_LEVEL = len("warning  ")

WithLLM = Annotated[bool, typer.Option("--llm", help="For the demo with a language model on vLLM servers.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="SPARK_SIDECAR_DEBUG", help="Show the stack trace of an error.")]


@app.callback()
def main(*, debug: Debug = False) -> None:
    """Run inference servers beside Spark executors."""


for command in (clusters.shapes, define_cluster.cluster, clusters.fit):
    app.command()(command)


@app.command()
def doctor(
    *,
    node: Annotated[str | None, typer.Option(help="Check only what this environment needs, such as vllm.")] = None,
    need_gpu: Annotated[bool, typer.Option("--need-gpu", help="With --node: fail if there is no GPU.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine and show how to fix each problem. Exit status 1 if there is an error."""
    from server_utils.node.checks import check_node
    from server_utils.node.doctor import check

    findings = check_node(node, need_gpu=need_gpu) if node else check()
    show = print_rows if as_json else _print_findings
    show(findings)
    if any(each.level == "error" for each in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    *,
    llm: WithLLM = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows; default: 3,000 per core, with --llm 300.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the Parquet files and the plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed movie reviews on a Spark cluster of two executors, with a Triton server beside each."""
    if llm:
        from server_utils.demo.llm import main
    else:
        from server_utils.demo.triton import main

    main(rows=rows, output=output, as_json=as_json)


@assets.command("fetch")
def assets_fetch(*, llm: WithLLM = False) -> None:
    """Download what the demo needs. Later runs need no network."""
    from server_utils.demo import assets

    (assets.fetch_llm if llm else assets.fetch)()


def _print_findings(findings: Sequence[Finding]) -> None:
    styles = {"ok": "green", "warning": "yellow", "error": "bold red"}
    width = max(len(each.name) for each in findings)
    for each in findings:
        line = f"{each.level:<{_LEVEL}}{each.name:<{width}}  {each.found}"
        print_text(line, indent=_LEVEL + width + 2, style=styles[each.level], styled=len(each.level))
        if each.fix:
            print_line(f"{'':{_LEVEL}}fix: {each.fix}")
