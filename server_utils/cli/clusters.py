"""The command `cluster`: prints the definition of one. Laptop; holds no logic."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from server_utils.cli.output import AsJson, print_json

Pairs = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Replaces or adds one; may be repeated.")]


def cluster(
    platform: Annotated[str, typer.Argument(help="Such as databricks-aws or dataproc.")],
    shape: Annotated[str, typer.Argument(help="Such as a10x1; `spark-sidecar shapes` lists them.")],
    framework: Annotated[str, typer.Option(help="What the workers are made ready for, such as vllm.")],
    *,
    workers: Annotated[int, typer.Option(help="How many worker nodes.")] = 2,
    name: Annotated[str, typer.Option(help="What the cluster is called.")] = "spark-sidecar",
    runtime: Annotated[str | None, typer.Option(help="A runtime or image other than the platform's default.")] = None,
    init_script: Annotated[str | None, typer.Option(help="Where the init script is: /Volumes/… or gs://…")] = None,
    bundle: Annotated[str | None, typer.Option(help="Dataproc: where the wheelhouse is, gs://…")] = None,
    rapids: Annotated[bool, typer.Option("--rapids", help="Spark's own SQL on the GPU too.")] = False,
    conf: Pairs = None,
    env: Pairs = None,
    as_json: AsJson = False,
) -> None:
    """Print a cluster's definition.

    Databricks: JSON for `databricks clusters create --json @FILE`. Dataproc: a `gcloud dataproc clusters create` line,
    or its words as JSON.
    """
    from server_utils.cli import definitions
    from server_utils.clusters import cluster as clusters_cluster

    found = clusters_cluster.cluster(
        platform,
        shape,
        framework,
        workers=workers,
        runtime=runtime,
        rapids=rapids,
        conf=definitions.pairs(conf or [], option="--conf"),
        env=definitions.pairs(env or [], option="--env"),
    )
    if doubt := clusters_cluster.doubt(found):
        typer.echo(f"warning: {doubt}", err=True)
    if platform == "dataproc":
        _print_gcloud(definitions.gcloud(found, name=name, init_script=init_script, bundle=bundle), as_json=as_json)
    else:
        print_json(definitions.databricks(found, name=name, init_script=init_script))


def _print_gcloud(words: list[str], *, as_json: bool) -> None:
    """The command for a shell, a flag a line; or its words for a program."""
    if as_json:
        print_json(words)
    else:
        command, flags = words[:5], words[5:]
        typer.echo(" \\\n  ".join([shlex.join(command), *map(shlex.quote, flags)]))
