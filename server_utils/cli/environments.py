"""The commands that make environments and bundles: `env`, `wheelhouse`. Laptop and nodes; hold no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

env = typer.Typer(no_args_is_help=True, help="The sealed environments that servers run in.")
wheelhouse = typer.Typer(no_args_is_help=True, help="Bundles that nodes are made ready from, without an index.")


@env.command("build")
def env_build(
    name: Annotated[str, typer.Argument(help="Which one, such as triton.")],
    *,
    python: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The interpreter to use.")] = None,
    wheels: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Only from this folder.")] = None,
    compile_later: Annotated[bool, typer.Option("--compile-later", help="Compile in the background.")] = False,
) -> None:
    """Build a sealed environment from its locked requirements."""
    from server_utils.environments import builder

    compiling = builder.Compiling.LATER if compile_later else builder.Compiling.NOW
    typer.echo(builder.build(name, python=python, wheels=wheels, compiling=compiling).python)


@env.command("list")
def env_list() -> None:
    """List the sealed environments of this machine."""
    from server_utils.host.platform import home

    for python in sorted(home().glob("envs/[!.]*/bin/python")):
        typer.echo(python.parents[1])


@wheelhouse.command("build")
def wheelhouse_build(
    framework: Annotated[str, typer.Option(help="The environment, such as vllm.")],
    to: Annotated[str, typer.Option(help="Where to: a folder, s3://…, gs://… or /Volumes/….")],
    *,
    python: Annotated[str, typer.Option(help="The minor version of the cluster's Python.")] = "3.12",
    cpu: Annotated[bool, typer.Option("--cpu", help="For machines without a GPU.")] = False,
    wheel: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Our own wheel.")] = None,
) -> None:
    """Fetch our wheel, uv and every locked wheel of an environment, each held to its hash."""
    from server_utils.node import bundle

    typer.echo(bundle.build(framework, to, python=python, cpu=cpu, wheel=wheel))
