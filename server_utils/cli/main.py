"""The console command `spark-sidecar`: reads arguments, calls one function, prints. Laptop; holds no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from server_utils.errors import ConfigurationError, SidecarError

try:
    import typer
    from typer.core import TyperGroup
except ImportError as err:
    # The wheel on a cluster goes without the extra, but its console command is there all the same.
    sys.exit(f"error: the command needs {err.name}, which is not installed: pip install 'spark-sidecar[cli]'")

from server_utils.cli import clusters, environments, models
from server_utils.cli.output import AsJson, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_utils.node.findings import Finding


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
assets = typer.Typer(no_args_is_help=True, help="The model and the text of the demo.")
app.add_typer(environments.env, name="env")
app.add_typer(environments.wheelhouse, name="wheelhouse")
app.add_typer(assets, name="assets")
app.add_typer(models.app, name="models")

WithLLM = Annotated[bool, typer.Option("--llm", help="The demo with a language model, on vLLM servers.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="SPARK_SIDECAR_DEBUG", help="Show an error's stack trace.")]


@app.callback()
def main(*, debug: Debug = False) -> None:
    """Inference servers as sidecars of Spark executors."""


for command in (clusters.shapes, clusters.cluster, clusters.fit):
    app.command()(command)


@app.command()
def doctor(
    *,
    node: Annotated[str | None, typer.Option(help="Check only what servers of this environment need.")] = None,
    need_gpu: Annotated[bool, typer.Option("--need-gpu", help="With --node: no GPU is an error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine, and say how to put right what does not fit. Exit status 1 if there is an error."""
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
    rows: Annotated[int | None, typer.Option(min=1, help="So many; by default 3,000 per core, with --llm 300.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the Parquet and the plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed real text on a Spark cluster of two executors, with a real Triton server beside each."""
    if llm:
        from server_utils.demo.llm import main
    else:
        from server_utils.demo.triton import main

    main(rows=rows, output=output, as_json=as_json)


@assets.command("fetch")
def assets_fetch(*, llm: WithLLM = False) -> None:
    """Fetch what the demo needs, once; later runs need no network."""
    from server_utils.demo import assets

    (assets.fetch_llm if llm else assets.fetch)()


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    styles = {"ok": "green", "warning": "yellow", "error": "bold red"}
    width = max(len(each.name) for each in findings)
    for each in findings:
        fix = f"\n{'':{width + 11}}fix: {each.fix}" if each.fix else ""
        line = Text.assemble((f"{each.level:<9}", styles[each.level]), f"{each.name:<{width}}  {each.found}{fix}")
        Console().print(line, soft_wrap=True)  # never wrapped: a fix is there to be copied
