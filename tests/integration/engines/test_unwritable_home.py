"""Real engines as YARN runs them: a user who is not root, HOME=/home/, and environments that only root can change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import real_vllm
from support.fakes import NOBODY, as_nobody_on_a_node, can_mount

from server_utils.environments import builder
from server_utils.errors import EnvironmentMissingError
from server_utils.host import engine_home

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root, to mount and to be another user")

START_VLLM = """
import os, sys
from support.real_vllm import Running
from server_utils.host.processes import ProcessId
server = Running(ProcessId.of(os.getpid()), sys.argv[1])
try:
    server.ensure()
    print("answers:", len(server.ask(["one", "two"], fields={"max_tokens": 4})))
finally:
    server.stop()
"""
START_TRITON = """
import numpy as np
from integration.engines.test_triton_client import served
from integration.engines.test_unwritable_home import writing_server
with served(writing_server) as server:
    print("answers:", server.client("double").infer([np.ones((2, 1), np.float32)])[0].tolist())
"""
# Where each engine keeps its files, by its own functions. Only environments for GPUs have the JITs.
PLACES = """
import importlib.util, json
import huggingface_hub.constants as hub, numba.core.caching as numba, torch._inductor.runtime.cache_dir_utils as t
import vllm.envs as vllm
places = {
    "vllm": vllm.VLLM_CACHE_ROOT, "vllm config": vllm.VLLM_CONFIG_ROOT, "hub": hub.HF_HOME, "torch": t.cache_dir(),
    "numba": numba.UserWideCacheLocator(lambda: None, numba.__file__).get_cache_path(),
}
if importlib.util.find_spec("triton"):
    import triton.knobs
    places["triton"] = triton.knobs.cache.dir
if importlib.util.find_spec("flashinfer"):
    import flashinfer.jit.env
    places["flashinfer"] = str(flashinfer.jit.env.FLASHINFER_CACHE_DIR)
print(json.dumps(places))
"""
# Variables by which a user moves such a place.
MOVED_BY = ("XDG_", "HF_", "VLLM_", "TRITON_", "FLASHINFER_")


def writing_server(ports):
    """A model that needs a home folder while it starts, as those do that compile or download."""
    from pathlib import Path

    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    folder = Path.home() / ".cache" / "compiled"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel").touch()

    @batch
    def double(x):
        return {"y": x * 2}

    def number(name):
        return Tensor(name=name, dtype=np.float32, shape=(1,))

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind("double", double, inputs=[number("x")], outputs=[number("y")], config=ModelConfig(max_batch_size=8))
        triton.serve()


@pytest.fixture
def node():
    """A folder that every user may enter, with a large disk that every user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "packages").mkdir()
    (folder / "disk").mkdir()
    (folder / "disk").chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def started(node, code, *arguments):
    places = {"SPARK_SIDECAR_CACHE": str(node / "disk" / "models"), "SPARK_SIDECAR_STATE": str(node / "disk" / "s")}
    return as_nobody_on_a_node(node / "packages", code, *arguments, HOME="/home/", **places)


def in_home(node):
    """What is in the home of the servers, which is the user's."""
    home = node / "disk" / "models-home"
    assert home.stat().st_uid == NOBODY
    return {path.relative_to(home).as_posix() for path in home.rglob("*")}


@pytest.mark.timeout(600)
def test_vllm_starts_where_nobody_can_write_to_home(node):
    model = shutil.copytree(real_vllm.model_folder(), node / "model")
    for file in model.iterdir():
        file.chmod(0o644)

    said = started(node, START_VLLM, model)

    assert "answers: 2" in said, said
    assert in_home(node)


@pytest.mark.timeout(300)
def test_triton_starts_where_nobody_can_write_to_home_and_finds_what_it_compiled_at_the_next_start(node):
    if not builder.folder("triton").exists():
        pytest.skip("there is no sealed environment triton")
    for _ in range(2):
        said = started(node, START_TRITON)

        assert "answers: [[2.0], [2.0]]" in said, said
        assert ".cache/compiled/kernel" in in_home(node)


def test_all_that_engines_keep_is_in_the_home_of_the_servers(tmp_path, monkeypatch):
    try:
        python = builder.find("vllm").python
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    monkeypatch.setenv("SPARK_SIDECAR_CACHE", str(tmp_path / "models"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(MOVED_BY)}
    environ |= engine_home.variables(environ | {"HOME": "/dev/null"})

    done = subprocess.run([python, "-I", "-c", PLACES], env=environ, text=True, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    places = json.loads(done.stdout.splitlines()[-1])
    assert {name: place for name, place in places.items() if not place.startswith(f"{tmp_path}/models-home/")} == {}
