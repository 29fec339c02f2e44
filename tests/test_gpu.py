"""What only a GPU can show: the model on the device, its memory free again, the client's throughput. No Spark."""

from __future__ import annotations

import shutil
import subprocess
import time
from concurrent import futures

import numpy as np
import pytest
from test_clients import Running, triton_launch

from server_utils import sidecar, stopping
from server_utils.process import wait_until

WIDTH, ROWS = 4096, 256

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


def used_mib():
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])


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
    stopping.stop(sidecar.begin(running.launch, running.owner, timeout_s=1))
    assert wait_until(lambda: used_mib() - before < 100, 30)


def test_a_killed_server_leaves_no_memory_on_the_device():
    before = used_mib()
    running = Running(triton_launch(matrix_server))
    folder = sidecar.begin(running.launch, running.owner, timeout_s=60)
    running.locate()
    stopping.kill(folder)
    assert wait_until(lambda: used_mib() - before < 100, 30)
