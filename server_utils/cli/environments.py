"""The commands `env build`, `env list` and `wheelhouse build`. Laptop and nodes; no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

env = typer.Typer(no_args_is_help=True, help="Build and list the sealed environments that servers run in.")
wheelhouse = typer.Typer(no_args_is_help=True, help="Build bundles for nodes without a package index.")


@env.command("build")
def env_build(
    name: Annotated[str, typer.Argument(help="The environment, such as triton or vllm.")],
    *,
    python: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The Python to use.")] = None,
    wheels: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Use only wheels in this folder.")
    ] = None,
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
    to: Annotated[str, typer.Option(help="The target: a folder, s3://..., gs://... or /Volumes/...")],
    *,
    python: Annotated[str, typer.Option(help="Version of Python on the cluster.")] = "3.12",
    cpu: Annotated[bool, typer.Option("--cpu", help="For machines without a GPU.")] = False,
    wheel: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Spark Sidecar's own wheel.")] = None,
    with_python: Annotated[bool, typer.Option("--with-python", help="Add a Python with its libpython.")] = False,
) -> None:
    """Download the locked wheels of an environment, with uv and the wheel of Spark Sidecar, and check their hashes."""
    from server_utils.node import bundle

    typer.echo(bundle.build(framework, to, python=python, cpu=cpu, wheel=wheel, with_python=with_python))
