"""Imports run one way, those inside functions and for type checkers included."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "server_utils"

# A module imports from the rows above its own only. A new module is put into the highest row that its imports allow.
LAYERS = [
    (
        "backends.engine_watch backends.triton.pytriton_patches backends.triton.program backends.triton.task_context backends.vllm.list_options "
        "backends.vllm.program cli.output errors node.findings demo.gguf_to_hf environments.libpython host.limits host.logs inference.triton.batch_size servers.ports servers.launch "
        "spark.udf storage.hashes host.files storage.progress storage.stores.redact storage.transfer servers.templates inference.request_lock "
        "backends.user_modules inference.utf8"
    ),
    (
        "backends.triton.function_call clusters.catalogue backends.code_references servers.events servers.gpu_assignment spark.java inference.triton.model host.gpus inference.openai.client validation host.platform "
        "jobs.progress inference.openai.request environments.lock_files inference.openai.schema_types storage.stores.hub storage.manifest storage.stores.base storage.urls "
        "inference.openai.strict_json inference.request_counters host.process_tree"
    ),
    (
        "inference.openai.answer_types backends.vllm.fields environments.interpreters servers.orphans backends.module_archive node.steps host.scratch jobs.display clusters.spark_conf "
        "spark.session storage.download storage.stores.files storage.stores.gcs storage.room storage.stores.s3 storage.scan storage.stores.workspace "
        "inference.triton.tensors clusters.model_memory"
    ),
    (
        "clusters.cluster environments.builder clusters.gpu_fit spark.partitioning node.spark_python jobs.output inference.pandas_compat servers.state_dir inference.triton.shared_memory storage.locations inference.openai.structured_output backends.payload "
        "jobs.monitor storage.cache storage.stores.databricks storage.upload spark.worker_python"
    ),
    (
        "demo.assets servers.engine_process backends.vllm.command_line inference.triton.client cli.shapes cli.definitions node.checks node.__main__ spark.executor_plans jobs.resumable "
        "storage.stores.factory inference.openai.row_errors inference.openai.concurrency"
    ),
    "servers.model_download backends.vllm.launch cli.clusters node.delivery spark.executors servers.stop storage.load storage.save",
    "node.doctor servers.lifecycle storage.verify storage.program servers.supervisor node.bundle",
    "cli.environments cli.models inference.openai.connections inference.triton.connections backends.executor_tasks",
    "inference.openai.dispatch inference.triton.dispatch backends.starting",
    "inference.openai.columns backends.base inference.triton.columns",
    "backends.triton.manager backends.vllm.manager demo",
    "cli.main",
]
RANK = {module: rank for rank, row in enumerate(LAYERS) for module in row.split()}
ONE_ROOM = "demo"  # a program of its own: its files stand in one row, and import one another

# Only these may speak to Spark. The others run on a bare GPU machine, and beside servers that a driver never sees.
SPARK = {
    *(
        "backends.triton.manager",
        "backends.vllm.manager",
        "inference.triton.dispatch",
        "demo",
        "node.doctor",
        "inference.openai.columns",
        "backends.base",
    ),
    *(
        "jobs.output",
        "spark.executors",
        "spark.executor_plans",
        "inference.openai.row_errors",
        "inference.openai.structured_output",
        "spark.session",
        "inference.triton.columns",
    ),
    *("inference.openai.answer_types", "inference.openai.schema_types", "spark.udf", "spark.worker_python"),
}


def name_of(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


# The package's own __init__ is the public index: it names modules of every row, and loads none of them early.
MODULES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"}
PACKAGES = {name for name, file in MODULES.items() if file.name == "__init__.py"}


def imported(file):
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole.removeprefix("server_utils.") in MODULES else node.module


def of_ours(file):
    return {place(name.removeprefix("server_utils.")) for name in imported(file) if name.startswith("server_utils.")}


def place(module):
    """What a module is called in LAYERS."""
    return ONE_ROOM if module.split(".")[0] == ONE_ROOM else module


@pytest.mark.parametrize("module", sorted(set(MODULES) - PACKAGES))
def test_a_module_imports_from_the_rows_above_it_only(module):
    assert place(module) in RANK, f"put {module} into LAYERS"
    others = of_ours(MODULES[module]) - {ONE_ROOM} if place(module) == ONE_ROOM else of_ours(MODULES[module])
    wrong = sorted(name for name in others if RANK[name] >= RANK[place(module)])
    assert not wrong, f"{module} imports {', '.join(wrong)}, which stand beside or below it"


@pytest.mark.parametrize("module", sorted(PACKAGES - {ONE_ROOM}))
def test_the_init_of_a_package_imports_nothing(module):
    assert of_ours(MODULES[module]) == set()


def test_no_module_stands_in_two_rows():
    assert len(RANK) == sum(len(row.split()) for row in LAYERS)


@pytest.mark.parametrize("module", sorted(module for module in MODULES if place(module) not in SPARK))
def test_a_module_below_spark_imports_no_spark(module):
    assert not [name for name in imported(MODULES[module]) if name.split(".")[0] == "pyspark"]


def test_the_kit_does_not_import_the_cloud_package():
    for file in MODULES.values():
        assert not [name for name in imported(file) if name.split(".")[0] == "csp"]


def test_only_platform_reads_the_variables_of_platforms():
    for module, file in MODULES.items():
        if module != "platform":
            text = file.read_text()
            assert "DATABRICKS_RUNTIME_VERSION" not in text, module
            assert "DATAPROC_VERSION" not in text, module
