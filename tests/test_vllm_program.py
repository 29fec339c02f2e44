"""The program of a vLLM sidecar, beside an engine that is only a few names: how it reaches the engine's processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server_utils.backends.vllm_launch import PROGRAM

_PLUGIN = """
import importlib.metadata, pathlib, program
program.offer_plugin(pathlib.Path.cwd())
for entry in importlib.metadata.entry_points(group="vllm.general_plugins"):
    entry.load()()
from vllm.v1.executor import multiproc_executor, uniproc_executor
for executor in (multiproc_executor, uniproc_executor):
    print(executor.get_distributed_init_method("10.0.0.1", 5))
"""


@pytest.fixture
def run(tmp_path):
    """Run code in a folder that is laid out as a server's, with an engine whose executors hold the given source."""

    def run(code, *, executor="", **environ):
        package = tmp_path / "vllm" / "v1" / "executor"
        package.mkdir(parents=True)
        for name in ("uniproc_executor", "multiproc_executor"):
            (package / f"{name}.py").write_text(f"get_distributed_init_method = 'tcp://{{}}:{{}}'.format\n{executor}\n")
        shutil.copy(PROGRAM, tmp_path / "program.py")
        shutil.copy(PROGRAM.with_name("life.py"), tmp_path)
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        ).stdout.split()

    return run


def test_the_processes_of_an_engine_meet_in_a_private_file_and_not_at_an_open_port(run, tmp_path):
    first, second = run(_PLUGIN, TMPDIR=str(tmp_path))

    assert Path(first.removeprefix("file://")).parent == Path(second.removeprefix("file://")).parent == tmp_path
    assert first != second


def test_an_engine_that_meets_in_a_file_by_itself_is_left_alone(run):
    assert run(_PLUGIN, executor="get_file_store_init_method = None") == ["tcp://10.0.0.1:5"] * 2


@pytest.mark.parametrize(("chosen", "loaded"), [({}, "None"), ({"VLLM_PLUGINS": "lora"}, "lora,spark_sidecar")])
def test_a_choice_of_plugins_does_not_leave_ours_out(run, chosen, loaded):
    assert run("import program; print(program.environment().get('VLLM_PLUGINS'))", **chosen) == [loaded]
