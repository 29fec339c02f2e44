"""The command `cluster`: prints the definition of one. Laptop; holds no logic."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server_utils.cli.output import AsJson, print_json, print_rows
from server_utils.errors import ConfigurationError

if TYPE_CHECKING:
    from server_utils.clusters.catalogue import Node
    from server_utils.clusters.gpu_fit import Fit
    from server_utils.clusters.model_memory import Weights

Pairs = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Replaces or adds one; may be repeated.")]
_CONTEXT = 6600
Platform = Annotated[str | None, typer.Option(help="Only this one, such as databricks-aws.")]
Context = Annotated[int, typer.Option(help="Tokens of a prompt and its answer: vLLM's max_model_len.")]


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
    from csp.databricks import cluster_spec as databricks_spec
    from csp.dataproc import cluster_spec as dataproc_spec
    from server_utils.clusters import cluster as clusters_cluster

    found = clusters_cluster.cluster(
        platform,
        shape,
        framework,
        workers=workers,
        runtime=runtime,
        rapids=rapids,
        conf=pairs(conf or [], option="--conf"),
        env=pairs(env or [], option="--env"),
    )
    if doubt := clusters_cluster.doubt(found):
        typer.echo(f"warning: {doubt}", err=True)
    if platform == "dataproc":
        _print_gcloud(
            dataproc_spec.gcloud_command(found, name=name, init_script=init_script, bundle=bundle), as_json=as_json
        )
    else:
        print_json(databricks_spec.request_body(found, name=name, init_script=init_script))


def _print_gcloud(words: list[str], *, as_json: bool) -> None:
    """The command for a shell, a flag a line; or its words for a program."""
    if as_json:
        print_json(words)
    else:
        command, flags = words[:5], words[5:]
        typer.echo(" \\\n  ".join([shlex.join(command), *map(shlex.quote, flags)]))


def shapes(platform: Platform = None, *, context: Context = _CONTEXT, as_json: AsJson = False) -> None:
    """List the GPU shapes of each platform: node type, what Spark gets there, and which language models fit."""
    from server_utils.clusters import catalogue, spark_conf

    nodes = catalogue.nodes(platform)
    fitting = _fitting(nodes, context)
    if not as_json:
        _print_shapes(nodes, fitting, context)
        return
    print_json(
        [
            asdict(row) | {"conf": spark_conf.recommended(row), "models": fitting[row.platform, row.shape]}
            for row in nodes
        ]
    )


def fit(
    model: Annotated[str, typer.Argument(help="A folder with config.json and safetensors, or a name that is known.")],
    *,
    context: Context = _CONTEXT,
    sequences: Annotated[int, typer.Option(help="How many sequences of that length must fit at once.")] = 1,
    platform: Platform = None,
    utilization: Annotated[float | None, typer.Option(help="vLLM's gpu_memory_utilization.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say on which shapes a language model fits and why not elsewhere. Exit status 1 if it fits nowhere."""
    from server_utils.clusters import model_memory
    from server_utils.clusters.gpu_fit import UTILIZATION, Demand, check

    read = model_memory.read(model)
    found = check(
        read, Demand(context, sequences, UTILIZATION if utilization is None else utilization), platform=platform
    )
    if as_json:
        print_rows(found)
    else:
        _print_fits(read, found, context)
    if not any(each.fits for each in found):
        _say_by_how_much(read, found)
        raise typer.Exit(1)


def _fitting(nodes: Sequence[Node], context: int) -> dict[tuple[str, str], list[str]]:
    """(platform, shape) -> the known models that fit there, the smallest first."""
    from server_utils.clusters import model_memory as clusters_model_memory
    from server_utils.clusters.gpu_fit import Demand, check

    fitting: dict[tuple[str, str], list[str]] = {(row.platform, row.shape): [] for row in nodes}
    for model in sorted(map(clusters_model_memory.read, clusters_model_memory.known()), key=lambda each: each.size):
        # A model made for less is listed by what it was made for.
        for each in check(model, Demand(min(context, model.longest or context))):
            if each.fits and (each.platform, each.shape) in fitting:
                fitting[each.platform, each.shape].append(model.name)
    return fitting


def _print_shapes(nodes: Sequence[Node], fitting: dict[tuple[str, str], list[str]], context: int) -> None:
    from rich.table import Column

    from server_utils.clusters import spark_conf

    for platform, rows in groupby(nodes, key=lambda each: each.platform):
        columns = (
            Column("shape", no_wrap=True),
            Column("node type", no_wrap=True),
            Column("GPUs", no_wrap=True),
            Column("vCPUs", justify="right"),
            Column("RAM", justify="right", no_wrap=True),
            "executor",
            f"largest model ({context:,} tokens)",
        )
        _print_table(
            platform,
            columns,
            [
                (
                    row.shape,
                    row.node_type,
                    f"{row.gpus} x {row.gpu} {row.gpu_memory_gib} GiB",
                    str(row.vcpus),
                    f"{row.ram_gib} GiB",
                    f"{spark_conf.executor_cores(row)} cores, {spark_conf.heap_gib(row)} GiB heap",
                    (fitting[row.platform, row.shape] or ["none of the known"])[-1],
                )
                for row in rows
            ],
        )


def _print_fits(model: Weights, found: Sequence[Fit], context: int) -> None:
    from rich.table import Column

    title = f"{model.name}: {model.size / 2**30:.1f} GiB of weights, {model.dtype}, {context:,} tokens"
    columns = ("platform", "shape", Column("node type", no_wrap=True), "fits", "GPUs used", "sequences", "why not")
    _print_table(
        title,
        columns,
        [
            (
                each.platform,
                each.shape,
                each.node_type,
                "yes" if each.fits else "no",
                str(each.tensor_parallel),
                str(each.sequences),
                each.why,
            )
            for each in found
        ],
    )


def _say_by_how_much(model: Weights, found: Sequence[Fit]) -> None:
    from server_utils.clusters.gpu_fit import closest

    best = closest(found)
    message = (
        f"error: {model.name} fits nowhere; the closest is {best.shape} on {best.platform} ({best.node_type}), where "
        f"each GPU lacks {best.short_gib:.1f} GiB. Take a shorter --context, or a quantized copy of the model."
    )
    typer.echo(message, err=True)


def _print_table(title: str, columns: Sequence[Any], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """KEY=VALUE words as a dict.

    Raises:
        ConfigurationError: if one has no key or no equals sign; the message names the option.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigurationError(f"{option} takes KEY=VALUE, not {text!r}")
        found[key] = value
    return found
