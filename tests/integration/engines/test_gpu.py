"""What only a GPU can show: the model on the device, its memory free again, the client's throughput. No Spark."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from concurrent import futures

import numpy as np
import psutil
import pytest
from support import real_vllm

from integration.engines.test_triton_client import Running, triton_launch
from server_utils.backends.transformers import manager as transformers
from server_utils.host import gpus
from server_utils.host.processes import wait_until
from server_utils.inference.openai.client import OpenAIClient
from server_utils.servers import gpu_assignment, lifecycle

WIDTH, ROWS = 4096, 256
CACHE_MIB = 512
VLLM = {"kv_cache_memory_bytes": CACHE_MIB << 20, "enforce_eager": True}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA GPU here: nvidia-smi is not on PATH"),
]


def matrix_server(ports):
    """A product with a matrix of 1 GiB on the device; answers fail on a machine without one."""
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    matrix = torch.eye(16384, device="cuda")[:4096, :4096]

    @batch
    def multiply(x):
        return {"y": (torch.from_numpy(x).cuda() @ matrix).cpu().numpy()}

    row = {"dtype": np.float32, "shape": (4096,)}
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        config = ModelConfig(max_batch_size=4096)
        triton.bind("m", multiply, inputs=[Tensor(name="x", **row)], outputs=[Tensor(name="y", **row)], config=config)
        triton.serve()


def used_mib(gpu=0):
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[gpu])


def test_a_model_lives_on_the_device_answers_and_leaves_its_memory_when_it_is_stopped(capsys):
    before = used_mib()
    running = Running(triton_launch(matrix_server))
    running.locate()
    assert used_mib() - before > 900
    batch = np.random.default_rng(0).random((ROWS, WIDTH), dtype=np.float32)
    client = running.client("m")
    assert np.allclose(client.infer([batch])[0], batch, atol=1e-2)
    began = time.monotonic()
    with futures.ThreadPoolExecutor(4) as pool:
        assert all(len(answer[0]) == ROWS for answer in pool.map(client.infer, [[batch]] * 100))
    with capsys.disabled():
        print(f"\n{100 * batch.nbytes / (time.monotonic() - began) / 2**20:.0f} MiB/s each way through the client")  # noqa: T201 - the figure is the point
    lifecycle.stop(lifecycle.ensure_supervisor(running.launch, running.owner, timeout_s=1))
    assert wait_until(lambda: used_mib() - before < 100, 30)


def test_a_killed_server_leaves_no_memory_on_the_device():
    before = used_mib()
    running = Running(triton_launch(matrix_server))
    folder = lifecycle.ensure_supervisor(running.launch, running.owner, timeout_s=60)
    running.locate()
    lifecycle.kill(folder)
    assert wait_until(lambda: used_mib() - before < 100, 30)


@pytest.fixture
def vllm(owner):
    """Starts the vLLM servers of one executor that Spark gave these GPUs: vllm("0", "1", replicas=2)."""
    folders = []

    def start(*assigned, replicas=1):
        running = real_vllm.Running(owner, real_vllm.model_folder(), options=VLLM, replicas=replicas)
        servers = []
        for replica in range(replicas):
            environ = gpu_assignment.environment(assigned, running.launch, replica)
            place = {"timeout_s": real_vllm.START_S, "replica": replica, "environ": environ}
            folders.append(lifecycle.ensure_supervisor(running.launch, owner, **place))
            servers.append(lifecycle.ensure(running.launch, owner, **place))
        return running, servers

    start.folders = folders
    yield start
    for folder in folders:
        lifecycle.stop(folder)


def told(server, option):
    """What the engine's command line says, and the GPUs that its process sees."""
    program = psutil.Process(server.process.pid)
    words = program.cmdline()
    return words[words.index(option) + 1], program.environ()["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize("end", [lifecycle.stop, lifecycle.kill])
def test_a_language_model_lives_on_the_device_and_leaves_its_memory_when_it_ends(vllm, end):
    before = used_mib()
    running, (server,) = vllm("0")
    assert server.models["tiny"]["device"] == "gpu"
    assert told(server, "--tensor-parallel-size") == ("1", "0")
    assert used_mib() - before > CACHE_MIB
    assert len(running.ask(["tell me"] * 100, fields={"max_tokens": 8, "seed": 1, "ignore_eos": True})) == 100
    end(running.folder)
    assert wait_until(lambda: used_mib() - before < 100, 30)


several = pytest.mark.skipif(len(gpus.visible_gpus()) < 2, reason="fewer than two NVIDIA GPUs here")


@several
def test_a_server_with_several_gpus_spreads_its_model_over_all_of_them(vllm):
    before = [used_mib(gpu) for gpu in range(2)]
    running, (server,) = vllm("0", "1")
    assert told(server, "--tensor-parallel-size") == ("2", "0,1")
    assert all(used_mib(gpu) - before[gpu] > CACHE_MIB for gpu in range(2))
    assert len(running.ask(["tell me"] * 100, fields={"max_tokens": 8, "ignore_eos": True})) == 100
    lifecycle.stop(running.folder)
    assert wait_until(lambda: all(used_mib(gpu) - before[gpu] < 100 for gpu in range(2)), 30)


@several
def test_servers_of_one_executor_have_a_gpu_each(vllm):
    before = [used_mib(gpu) for gpu in range(2)]
    _, servers = vllm("0", "1", replicas=2)
    assert [told(server, "--tensor-parallel-size") for server in servers] == [("1", "0"), ("1", "1")]
    assert all(used_mib(gpu) - before[gpu] > CACHE_MIB for gpu in range(2))
    for folder in vllm.folders:
        lifecycle.stop(folder)
    assert wait_until(lambda: all(used_mib(gpu) - before[gpu] < 100 for gpu in range(2)), 30)


def test_transformers_serve_answers_from_the_device_and_leaves_its_memory_when_it_is_stopped(owner):
    before = used_mib()
    model = real_vllm.model_folder(environment="transformers")
    engine = transformers.serve({"dtype": "float32"})
    dialect = transformers.TransformersServerManager.dialect
    launch = engine.launch(
        None,
        application="test",
        name="tiny",
        id=uuid.uuid4().hex,
        environment="transformers",
        files=engine.files("tiny", dialect),
        model=str(model),
    )
    server = lifecycle.ensure(launch, owner, timeout_s=120)
    try:
        assert used_mib() - before > 100
        body = {"prompt": "tell me", "max_tokens": 4, "temperature": 0}
        reply = OpenAIClient(lambda: server, timeout_s=60, dialect=dialect).send("/v1/completions", body)
        assert reply["usage"]["completion_tokens"] == 4
    finally:
        lifecycle.stop(server.folder)
    assert wait_until(lambda: used_mib() - before < 100, 30)
