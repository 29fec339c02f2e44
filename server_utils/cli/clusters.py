"""The commands `shapes`, `fit` and `cluster`: which GPU nodes there are, and the definition of a cluster. Laptop."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from server_utils.cli.output import AsJson, Column, Row, print_json, print_rows, print_tables, print_text
from server_utils.errors import ConfigurationError

if TYPE_CHECKING:
    from server_utils.clusters.catalogue import Node
    from server_utils.clusters.gpu_fit import Demand, Fit
    from server_utils.clusters.model_memory import Weights

Platform = Annotated[str | None, typer.Option(help="Only this platform, such as databricks-aws.")]
Context = Annotated[int, typer.Option(help="Tokens of a prompt and its answer (vLLM: max_model_len).")]
_CONTEXT = 6600
_PAIR = "KEY=VALUE"


def cluster(
    platform: Annotated[str, typer.Argument(help="The platform, such as databricks-aws or dataproc.")],
    shape: Annotated[str, typer.Argument(help="The nodes, such as a10x1; `spark-sidecar shapes` lists them.")],
    framework: Annotated[str, typer.Option(help="The framework of the servers, such as vllm.")],
    *,
    workers: Annotated[int, typer.Option(help="Number of worker nodes.")] = 2,
    name: Annotated[str, typer.Option(help="Name of the cluster.")] = "spark-sidecar",
    runtime: Annotated[str | None, typer.Option(help="Databricks runtime or Dataproc image.")] = None,
    init_script: Annotated[str | None, typer.Option(help="Path of the init script: /Volumes/... or gs://...")] = None,
    bundle: Annotated[str | None, typer.Option(help="Dataproc: URL of the wheelhouse, gs://...")] = None,
    rapids: Annotated[bool, typer.Option("--rapids", help="Add the RAPIDS Accelerator for Spark SQL.")] = False,
    conf: Annotated[list[str] | None, typer.Option(metavar=_PAIR, help="Set a Spark setting; may be repeated.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar=_PAIR, help="Set a variable; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the definition of a cluster: JSON for Databricks, a gcloud command for Dataproc.

    Databricks: save it, then run `databricks clusters create --json @FILE`. Dataproc: run it; --json prints its words.
    """
    from csp.databricks import cluster_spec as databricks_spec
    from csp.dataproc import cluster_spec as dataproc_spec
    from server_utils.clusters import cluster as clusters_cluster

    definition = clusters_cluster.cluster(
        platform,
        shape,
        framework,
        workers=workers,
        runtime=runtime,
        rapids=rapids,
        conf=pairs(conf or [], option="--conf"),
        env=pairs(env or [], option="--env"),
    )
    if warning := clusters_cluster.doubt(definition):
        typer.echo(f"warning: {warning}", err=True)
    if platform == "dataproc":
        _print_gcloud(
            dataproc_spec.gcloud_command(definition, name=name, init_script=init_script, bundle=bundle), as_json=as_json
        )
    else:
        print_json(databricks_spec.request_body(definition, name=name, init_script=init_script))


def _print_gcloud(words: list[str], *, as_json: bool) -> None:
    """Print the command for a shell, one flag per line, or its words as JSON."""
    if as_json:
        print_json(words)
    else:
        command, flags = words[:5], words[5:]
        typer.echo(" \\\n  ".join([shlex.join(command), *map(shlex.quote, flags)]))


def shapes(platform: Platform = None, *, context: Context = _CONTEXT, as_json: AsJson = False) -> None:
    """List the GPU nodes of each platform by shape, with the largest language model that fits."""
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
    model: Annotated[str, typer.Argument(help="A folder with config.json and safetensors files, or a name.")],
    *,
    context: Context = _CONTEXT,
    sequences: Annotated[int, typer.Option(help="Number of sequences of that length in memory at once.")] = 1,
    platform: Platform = None,
    utilization: Annotated[float | None, typer.Option(help="Share of GPU memory for vLLM, 0 to 1.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every shape, not only the smallest that fits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the smallest shape of each platform on which a language model fits. Exit status 1 if it fits nowhere."""
    from server_utils.clusters import model_memory
    from server_utils.clusters.gpu_fit import UTILIZATION, Demand, check

    weights = model_memory.read(model)
    demand = Demand(context, sequences, UTILIZATION if utilization is None else utilization)
    results = check(weights, demand, platform=platform)
    if as_json:
        print_rows(results)
    else:
        _print_fits(weights, results, demand, every=every)
    if not any(each.fits for each in results):
        _print_closest(weights, results)
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


def _print_shapes(nodes: Sequence[Node], fitting: Mapping[tuple[str, str], Sequence[str]], context: int) -> None:
    from server_utils.clusters import model_memory

    columns = (
        Column("shape"),
        Column("node type"),
        Column("GPU GiB", right=True),
        Column("vCPUs", right=True),
        Column("RAM GiB", right=True),
        Column("largest model"),
    )
    tables: dict[str, list[Row]] = {}
    for row in nodes:
        tables.setdefault(row.platform, []).append(
            (
                row.shape,
                row.node_type,
                f"{row.gpus} x {row.gpu_memory_gib}",
                str(row.vcpus),
                str(row.ram_gib),
                (fitting[row.platform, row.shape] or ["none"])[-1],
            )
        )
    print_tables(columns, tables)
    print_text("")
    print_text(
        f"Largest model: the largest of {', '.join(model_memory.known())} that fits with a context of {context:,} "
        "tokens. `spark-sidecar fit` checks other models; `spark-sidecar cluster` prints the Spark settings of a shape."
    )


def _print_fits(model: Weights, results: Sequence[Fit], demand: Demand, *, every: bool) -> None:
    columns = (
        Column("shape"),
        Column("node type"),
        Column("GPUs used", right=True),
        Column("sequences", right=True),
        Column("lacks GiB per GPU", right=True),
    )
    wanted = f"{demand.sequences} sequence{'s' if demand.sequences > 1 else ''} of {demand.context:,} tokens"
    print_text(f"{model.name}: {model.size / 2**30:.1f} GiB of weights in {model.dtype}; {wanted}")
    print_text("")
    tables = _by_platform(results)
    shown = tables if every else {platform: fits[:1] for platform, fits in tables.items()}
    print_tables(columns, {platform: [_fit_row(each) for each in fits] for platform, fits in shown.items()})
    print_text("")
    for reason in dict.fromkeys(each.why.partition("; ")[2] for fits in shown.values() for each in fits):
        if reason:
            print_text(f"GPUs used: {reason}.")
    print_text(_summary(results, every=every))


def _by_platform(results: Sequence[Fit]) -> dict[str, list[Fit]]:
    """By platform: the shapes that fit, the smallest first, then the others, the one that lacks the least first."""
    from server_utils.clusters.catalogue import node

    def order(each: Fit) -> tuple[float, ...]:
        row = node(each.platform, each.shape)
        # First whether it fits: what lacks a few MiB is rounded to lacking nothing.
        return (not each.fits, each.short_gib, row.gpus * row.gpu_memory_gib, row.gpus, row.vcpus, row.ram_gib)

    tables: dict[str, list[Fit]] = {}
    for each in sorted(results, key=order):
        tables.setdefault(each.platform, []).append(each)
    return {platform: tables[platform] for platform in dict.fromkeys(each.platform for each in results)}


def _fit_row(each: Fit) -> Row:
    lacks = "" if each.fits else f"{each.short_gib:.1f}"
    return (each.shape, each.node_type, str(each.tensor_parallel), str(each.sequences), lacks)


def _summary(results: Sequence[Fit], *, every: bool) -> str:
    fitting = f"It fits on {sum(each.fits for each in results)} of {len(results)} shapes."
    if every:
        return fitting
    everywhere = {each.platform for each in results} == {each.platform for each in results if each.fits}
    closest = "" if everywhere else ", or else the closest"
    return f"{fitting} Here is the smallest of each platform{closest}; --all shows every shape."


def _print_closest(model: Weights, results: Sequence[Fit]) -> None:
    from server_utils.clusters.gpu_fit import closest

    best = closest(results)
    message = (
        f"error: {model.name} fits nowhere; the closest is {best.shape} on {best.platform} ({best.node_type}), where "
        f"each GPU lacks {best.short_gib:.1f} GiB. Use a shorter --context or a quantized model."
    )
    typer.echo(message, err=True)


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Return KEY=VALUE words as a dict.

    Raises:
        ConfigurationError: if one has no key or no equals sign; the message names the option.
    """
    parsed = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigurationError(f"{option} takes KEY=VALUE, not {text!r}")
        parsed[key] = value
    return parsed
