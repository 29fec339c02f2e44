"""The console command `spark-sidecar`: reads arguments, calls one function, prints. Laptop; holds no logic."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from server_utils.errors import ConfigurationError, SidecarError

try:
    import typer
    from typer.core import TyperGroup
except ImportError as err:
    # The wheel on a cluster goes without the extra, but its console command is there all the same.
    sys.exit(f"error: the command needs {err.name}, which is not installed: pip install 'spark-sidecar[cli]'")

from server_utils.commands import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_utils.catalogue import Node
    from server_utils.doctor import Finding


class _Commands(TyperGroup):
    """Ends an error of ours in one line: a stack trace says nothing to who typed the command."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SidecarError as err:
            if ctx.params["debug"]:
                raise
            typer.echo(f"error: {err}", err=True)
            raise typer.Exit(2 if isinstance(err, ConfigurationError) else 1) from err


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
env = typer.Typer(no_args_is_help=True, help="The sealed environments that servers run in.")
assets = typer.Typer(no_args_is_help=True, help="The model and the text of the demo.")
app.add_typer(env, name="env")
app.add_typer(assets, name="assets")
app.add_typer(models.app, name="models")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="SPARK_SIDECAR_DEBUG", help="Show an error's stack trace.")]


@app.callback()
def main(*, debug: Debug = False) -> None:
    """Inference servers as sidecars of Spark executors."""


@app.command()
def shapes(
    platform: Annotated[str | None, typer.Option(help="Only this one, such as databricks-aws.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the GPU shapes that each platform offers, and the node type that is recommended for each."""
    from server_utils import catalogue

    (_print_json if as_json else _print_shapes)(catalogue.nodes(platform))


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check this machine, and say how to put right what does not fit. Exit status 1 if there is an error."""
    from server_utils.doctor import check

    findings = check()
    show = _print_json if as_json else _print_findings
    show(findings)
    if any(each.level == "error" for each in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    *,
    rows: Annotated[int | None, typer.Option(min=1, help="Embed so many rows; by default 3,000 per core.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the Parquet and the plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed real text on a Spark cluster of two executors, with a real Triton server beside each."""
    from server_utils.demo.run import main

    main(rows=rows, output=output, as_json=as_json)


@env.command("build")
def env_build(
    name: Annotated[str, typer.Argument(help="Which one, such as triton.")],
    python: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The interpreter to use.")] = None,
) -> None:
    """Build a sealed environment from its locked requirements."""
    from server_utils import environments

    typer.echo(environments.build(name, python=python).python)


@env.command("list")
def env_list() -> None:
    """List the sealed environments of this machine."""
    from server_utils.platform import home

    for python in sorted(home().glob("envs/[!.]*/bin/python")):
        typer.echo(python.parents[1])


@assets.command("fetch")
def assets_fetch() -> None:
    """Fetch what the demo needs, once; later runs need no network."""
    from server_utils import assets

    assets.fetch()


def _print_json(rows: Sequence[Node | Finding]) -> None:
    typer.echo(json.dumps([asdict(row) for row in rows], indent=2))


def _print_shapes(nodes: Sequence[Node]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    for platform, rows in groupby(nodes, key=lambda each: each.platform):
        columns = ("shape", "node type", "GPUs", Column("vCPUs", justify="right"), Column("RAM", justify="right"))
        table = Table(*columns, title=platform, title_justify="left", box=box.SIMPLE_HEAD)
        for row in rows:
            gpus = f"{row.gpus} x {row.gpu} {row.gpu_memory_gib} GiB"
            table.add_row(row.shape, row.node_type, gpus, str(row.vcpus), f"{row.ram_gib} GiB")
        Console().print(table)


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    styles = {"ok": "green", "warning": "yellow", "error": "bold red"}
    width = max(len(each.name) for each in findings)
    for each in findings:
        fix = f"\n{'':{width + 11}}fix: {each.fix}" if each.fix else ""
        line = Text.assemble((f"{each.level:<9}", styles[each.level]), f"{each.name:<{width}}  {each.found}{fix}")
        Console().print(line, soft_wrap=True)  # never wrapped: a fix is there to be copied
