"""The commands `shapes` and `fit`: which GPU nodes there are, and which models fit on them. Laptop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from server_utils.cli.output import AsJson, Column, Row, print_json, print_rows, print_tables, print_text

if TYPE_CHECKING:
    from server_utils.clusters.catalogue import Node
    from server_utils.clusters.gpu_fit import Demand, Fit
    from server_utils.clusters.model_memory import Weights

Platform = Annotated[str | None, typer.Option(help="Only this platform, such as databricks-aws.")]
Context = Annotated[int, typer.Option(help="Tokens of a prompt and its answer (vLLM: max_model_len).")]
_CONTEXT = 6600


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
    from server_utils.clusters import model_memory
    from server_utils.clusters.gpu_fit import Demand, check

    fitting: dict[tuple[str, str], list[str]] = {(row.platform, row.shape): [] for row in nodes}
    for model in sorted(map(model_memory.read, model_memory.known_models()), key=lambda each: each.size):
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
    for note in _notes(nodes):
        print_text(note)
    print_text(
        f"Largest model: the largest of {', '.join(model_memory.known_models())} that fits with a context of "
        f"{context:,} tokens. `spark-sidecar fit` checks other models; `spark-sidecar cluster` prints the Spark "
        "settings of a shape."
    )


def _notes(nodes: Sequence[Node]) -> list[str]:
    """What holds for some of the shapes only, in a sentence each."""
    marks = {
        "Sold as spot only, or by reservation": [row for row in nodes if row.spot_only],
        "Not named by the platform's documents": [row for row in nodes if not row.documented],
        "Without bfloat16, so vLLM computes in float16": [row for row in nodes if not row.bfloat16],
        "Several GPUs without NVLink; where vLLM does not start on all of them, give disable_custom_all_reduce=True": [
            row for row in nodes if row.peers == "pcie"
        ],
        "A slice of a GPU (vGPU), whose driver must match the host's": [row for row in nodes if row.vgpu],
    }
    return [f"{mark}: {', '.join(_named(rows, nodes))}." for mark, rows in marks.items() if rows]


def _named(rows: Sequence[Node | Fit], of: Sequence[Node | Fit]) -> list[str]:
    """The shapes of rows, each with its platforms where the table that they are `of` has several."""
    shapes: dict[str, list[str]] = {}
    for row in rows:
        shapes.setdefault(row.shape, []).append(row.platform)
    if len({row.platform for row in of}) == 1:
        return list(shapes)
    return [f"{shape} ({', '.join(where)})" for shape, where in shapes.items()]


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
    for note in _links([each for fits in shown.values() for each in fits]):
        print_text(note)
    print_text(_summary(results, every=every))


def _links(shown: Sequence[Fit]) -> list[str]:
    """How the GPUs reach each other that a model is spread over: tensor parallelism waits for that."""
    spread = [each for each in shown if each.fits and each.tensor_parallel > 1]
    texts = {
        "nvlink": "GPUs joined by NVLink",
        "pcie": "GPUs without NVLink, so slower together; where vLLM does not start on all of them, give "
        "disable_custom_all_reduce=True",
        None: "GPUs that may have NVLink or not, which `nvidia-smi topo -m` says on a node",
    }
    named = {text: _named([each for each in spread if each.peers == peers], shown) for peers, text in texts.items()}
    return [f"{text}: {', '.join(names)}." for text, names in named.items() if names]


def _by_platform(results: Sequence[Fit]) -> dict[str, list[Fit]]:
    """By platform: the shapes that fit, the smallest first, then the others, the one that lacks the least first."""
    from server_utils.clusters.catalogue import node

    def order(each: Fit) -> tuple[float, ...]:
        row = node(each.platform, each.shape)
        unsure = row.spot_only or not row.documented
        size = (row.gpus * row.gpu_memory_gib, row.gpus, not row.recommended, row.vcpus, row.ram_gib)
        # First whether it fits: what lacks a few MiB is rounded to lacking nothing.
        return (not each.fits, each.short_gib, unsure, *size)

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
