"""The public names: exactly these, each there, and none of them heavy before it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.fakes import run_python

import server_utils

HEAVY = ("numpy", "pandas", "pyarrow", "pyspark", "tritonclient")
# What runs beside every server, and what every task imports before it knows whether there is one.
LIGHT = ["server_utils", "server_utils.servers.supervisor", "server_utils.servers.lifecycle", "server_utils.errors"]


def declared():
    """The names that type checkers see: those imported under TYPE_CHECKING."""
    tree = ast.parse(Path(server_utils.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    return [name.name for node in guarded.body if isinstance(node, ast.ImportFrom) for name in node.names]


@pytest.mark.parametrize("name", server_utils.__all__)
def test_a_public_name_is_there(name):
    assert getattr(server_utils, name).__name__ == name


def test_type_checkers_see_what_is_exported():
    assert sorted(declared()) == sorted(server_utils.__all__)


def test_the_list_of_public_names_is_sorted_and_has_no_name_twice():
    assert server_utils.__all__ == sorted(set(server_utils.__all__))


def test_every_error_is_public():
    from server_utils import errors

    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined <= set(server_utils.__all__)


def test_a_star_import_brings_exactly_the_public_names():
    brought = {}
    exec("from server_utils import *", brought)  # noqa: S102 - a star import must stand at the top of a module
    assert set(brought) - {"__builtins__"} == set(server_utils.__all__)


def test_a_name_that_is_not_public_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"no attribute 'TritonManager'; it exports .*TritonServerManager"):
        server_utils.TritonManager  # noqa: B018 - the access is the test


@pytest.mark.parametrize("module", LIGHT)
def test_nothing_heavy_comes_with(module):
    code = f"import {module}, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    answer = run_python(code, stdout=subprocess.PIPE)
    assert answer.communicate()[0].split() == []
    assert answer.returncode == 0


# What runs in other interpreters, and what it may import besides the standard library: other packages, and modules of
# ours that are laid beside it.
SERVER_UTILS = Path(server_utils.__file__).parent
ELSEWHERE = {
    "backends/engine_watch.py": set(),
    "backends/triton/pytriton_patches.py": {"engine_watch", "pytriton"},
    "backends/triton/program.py": {"cloudpickle", "engine_watch", "pytriton_patches", "task_context"},
    "backends/triton/task_context.py": set(),
    "backends/list_options.py": set(),
    "backends/openai_program.py": {"engine_watch"},
    "backends/dynamo/deployment.py": {"engine_settings", "engine_watch", "zmq"},
    "backends/dynamo/program.py": {"deployment", "engine_watch", "openai_program"},
    "backends/dynamo/worker.py": set(),
    "backends/nim/program.py": {"containers", "engine_watch", "openai_program"},
    "backends/vllm/engine_settings.py": set(),
    "backends/vllm/program.py": {"engine_settings", "engine_watch", "openai_program"},
    "demo/ct2_to_hf.py": {"numpy", "torch", "transformers"},
    "demo/gguf_to_hf.py": {"numpy"},
    "demo/onnx_to_hf.py": {"numpy", "torch", "transformers"},
    "demo/triton_model.py": {"numpy", "pytriton", "sentence_transformers", "torch"},
    "environments/libpython.py": set(),
    "node/containers.py": set(),
}


@pytest.mark.parametrize("program", ELSEWHERE)
def test_a_program_for_the_sealed_environment_imports_nothing_of_ours(program):
    """It does not hold the package."""
    imported = {name.split(".")[0] for name in imports(SERVER_UTILS / program)}
    assert "server_utils" not in imported
    assert imported <= set(sys.stdlib_module_names) | ELSEWHERE[program]


def test_the_page_on_the_architecture_lists_the_programs_for_other_interpreters():
    page = (SERVER_UTILS.parent / "docs" / "architecture.md").read_text()
    listed = re.findall(r"`([\w*/]+\.py)`", page.partition("Some files run where")[2].partition("`csp/")[0])
    files = {file.relative_to(SERVER_UTILS).as_posix() for name in listed for file in SERVER_UTILS.glob(name)}
    assert files == set(ELSEWHERE)


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module
