"""Called by `./run render`: writes what is made from the facts. With --check it writes nothing and ends 1 if stale."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import gallery
import notebook_files

from csp.live_checks import report
from server_utils.backends.dynamo.manager import DynamoServerManager
from server_utils.backends.nim.manager import DIALECTS as NIM_DIALECTS
from server_utils.backends.nim.manager import NIMServerManager
from server_utils.backends.openai import OpenAIServerManager
from server_utils.backends.sglang.manager import SGLangServerManager
from server_utils.backends.transformers.manager import TransformersServerManager
from server_utils.backends.vllm.manager import VLLMServerManager
from server_utils.clusters import cluster, gpu_fit, model_memory, spark_conf
from server_utils.clusters.catalogue import node
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.request import Endpoint
from server_utils.notebooks import catalogue

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "server_utils" / "data" / "clusters.json"
DOCUMENT = ROOT / "docs" / "clusters.md"
ENGINES_DOCUMENT = ROOT / "docs" / "llm.md"
ENGINES: tuple[type[OpenAIServerManager], ...] = (
    VLLMServerManager,
    DynamoServerManager,
    NIMServerManager,
    SGLangServerManager,
    TransformersServerManager,
)
SIZES_DOCUMENT = ROOT / "docs" / "guides" / "gpu-sizing.md"
NODES_DOCUMENT = ROOT / "docs" / "nodes.md"
README = ROOT / "README.md"
LIVE_DOCUMENT = ROOT / "docs" / "live-checks.md"
# One node with one GPU and no YARN, one with several and YARN: together they have every setting.
EXAMPLES = (("databricks-aws", "a10x1"), ("dataproc", "l4x4"))
# A shape with as many GPUs as are sold together, of each size of memory.
SIZES = ("databricks-aws", ("t4x4", "a10x8", "l40sx8", "h100x8"))
TABLE = re.compile(r"(?<=<!-- made by \./run render -->\n).*?(?=<!-- end -->)", re.DOTALL)


def markdown(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head, *lines = [f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|\n" for row in (headings, *rows)]
    return f"{head}|{'---|' * len(list(headings))}\n{''.join(lines)}"


def settings() -> str:
    """Every setting with its value on two nodes, and its reason."""
    first, second = (node(*each) for each in EXAMPLES)
    explained = [
        {each.key: each for each in spark_conf.explained(first, rapids=True)},
        {each.key: each for each in spark_conf.explained(second)},
    ]
    headings = ["setting", *(f"`{platform} {shape}`" for platform, shape in EXAMPLES), "why"]
    rows = [
        [f"`{key}`", *(f"`{one[key].value}`" if key in one else "" for one in explained), each.why]
        for key, each in (explained[0] | explained[1]).items()
    ]
    return markdown(headings, rows)


def frameworks() -> str:
    """What nodes can be prepared for."""
    rows = [(f"`{name}`", each["what"], f"`{each['used_by']}`") for name, each in cluster.framework_facts().items()]
    return markdown(["framework", "is", "used by"], rows)


def engines() -> str:
    """What each engine's server offers, by its dialect."""
    columns = {name: _features(engine, dialect) for engine in ENGINES for name, dialect in _dialects_of(engine).items()}
    features = list(columns.values())
    return markdown(["", *columns], [[name, *(each[name] for each in features)] for name in features[0]])


def _dialects_of(engine: type[OpenAIServerManager]) -> dict[str, Dialect]:
    """The name of a column -> its dialect: the series of NIM have one each."""
    if engine is NIMServerManager:
        return {f"NIM {series}.x": dialect for series, dialect in NIM_DIALECTS.items()}
    return {engine.engine_name: engine.dialect}


def _features(engine: type[OpenAIServerManager], dialect: Dialect) -> dict[str, str]:
    options = inspect.signature(engine.start_servers).parameters  # type: ignore[attr-defined]  # of each engine's own
    return {
        "manager": f"`{engine.__name__}`",
        "rows per request, at most": str(dialect.rows_per_request),
        "conversations per request, at most": str(dialect.rows_per_request if dialect.chat_batch_path else 1),
        "typed answers (`response_format`)": f"by `{dialect.schema_field.value}`" if dialect.schema_field else "no",
        "vectors (`embed`)": _vectors(engine, dialect),
        "tokens of each row (`details=True`)": "yes" if dialect.token_ids_field else "yes, one row per request",
        "key for requests": "`require_key=True`" if "require_key" in options else "no",
        "a prompt goes where its beginning is cached": '`router="kv"`' if "router" in options else "no",
        "metrics in `status()`": "yes" if dialect.metrics_path else "no",
        "rows in flight": "follow the queue" if dialect.metrics_path else f"{dialect.first_limit}, shared by the tasks",
    }


def _vectors(engine: type[OpenAIServerManager], dialect: Dialect) -> str:
    """Who offers embeddings: an engine whose endpoints are listed without them has none."""
    if start := engine.start_for.get(Endpoint.EMBED):
        return f"`{start}`"
    return "no" if dialect.fields else "by an image for it, unproven"


def sizes() -> str:
    """The memory of every model that `fit` knows by name, and over how many GPUs of each kind it is spread."""
    platform, shapes = SIZES
    gpus = [f"{each.gpu.upper()} ({each.gpu_memory_gib} GiB)" for each in (node(platform, shape) for shape in shapes)]
    rows = []
    for model in sorted(map(model_memory.read, model_memory.known_models()), key=lambda each: each.size):
        fits = {fit.shape: fit for fit in gpu_fit.check(model, gpu_fit.Demand(context=6600), platform=platform)}
        counts = [str(fits[shape].tensor_parallel) if fits[shape].fits else "no" for shape in shapes]
        cache = (model.kv_bytes + model.window_kv_bytes) * 1000 / 2**20
        rows.append([model.name, f"{model.size / 2**30:.1f} GiB", f"{cache:.0f} MiB", *counts])
    return markdown(["model", "weights", "cache of 1,000 tokens", *gpus], rows)


def pictures() -> str:
    """A small picture of what comes out of each notebook."""
    return "\n".join(gallery.table([*catalogue.every().values()], "docs/gallery/")) + "\n"


def rendered() -> dict[Path, str]:
    """File -> what it should hold."""
    return {
        CLUSTERS: cluster.render(),
        DOCUMENT: TABLE.sub(lambda _: settings(), DOCUMENT.read_text()),
        ENGINES_DOCUMENT: TABLE.sub(lambda _: engines(), ENGINES_DOCUMENT.read_text()),
        SIZES_DOCUMENT: TABLE.sub(lambda _: sizes(), SIZES_DOCUMENT.read_text()),
        NODES_DOCUMENT: TABLE.sub(lambda _: frameworks(), NODES_DOCUMENT.read_text()),
        LIVE_DOCUMENT: TABLE.sub(lambda _: report.page(), LIVE_DOCUMENT.read_text()),
        notebook_files.FOLDER / "README.md": notebook_files.index(),
        gallery.FOLDER / "README.md": gallery.index(),
        README: TABLE.sub(lambda _: pictures(), README.read_text()),
    } | {notebook_files.made(each): notebook_files.render(each) for each in catalogue.every().values()}


def main(arguments: list[str]) -> int:
    """Write what is stale, or only name it."""
    stale = [path for path, text in rendered().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if arguments == ["--check"]:
            print(f"error: {path.relative_to(ROOT)} is stale: run `./run render`", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(rendered()[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return int(bool(stale) and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
