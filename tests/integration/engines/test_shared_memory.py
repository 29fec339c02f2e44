"""Tensors in memory shared with a real Triton: registered, unregistered, or sent where that cannot be."""

from __future__ import annotations

import os
import pickle
import re
import signal
import stat
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from support.fakes import known_to

from integration.engines.test_triton_client import served
from server_utils.backends import engine_watch
from server_utils.errors import ServerUnavailableError
from server_utils.host.processes import wait_until
from server_utils.inference.triton import shared_memory
from server_utils.inference.triton.model import choose

WIDE = 1 << 15  # 128 KiB of float32: one row is worth sharing

CLIENT = """
import pickle, sys
import numpy as np
from server_utils.inference.triton.client import TritonClient
server, model = pickle.loads(bytes.fromhex(sys.argv[1]))
TritonClient(lambda: server, model, timeout_s=60).infer([np.ones((1, 1 << 15), np.float32)])
print("asked", flush=True)
sys.stdin.read()
"""


def wide_server(ports):
    """Models: `double` of a wide row, `slow` the same in half a minute, `describe` of four inputs."""
    import time

    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def double(x):
        return {"y": x * 2}

    @batch
    def slow(x):
        time.sleep(30)
        return {"y": x * 2}

    @batch
    def describe(number, flag, text, wide):
        parts = zip(number[:, 0], flag[:, 0], text[:, 0], wide.sum(axis=1), strict=True)
        return {"said": np.array([[f"{n} {f} {t.decode()} {w:g}".encode()] for n, f, t, w in parts])}

    wide = Tensor(name="x", dtype=np.float32, shape=(1 << 15,))
    inputs = [
        Tensor(name="number", dtype=np.int64, shape=(1,)),
        Tensor(name="flag", dtype=np.bool_, shape=(1,)),
        Tensor(name="text", dtype=bytes, shape=(1,)),
        Tensor(name="wide", dtype=np.float32, shape=(-1,)),
    ]
    answer = Tensor(name="y", dtype=np.float32, shape=(1 << 15,))
    config = ModelConfig(max_batch_size=64)
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind("double", double, [wide], [answer], config=config)
        triton.bind("slow", slow, [wide], [answer], config=config)
        triton.bind("describe", describe, inputs, [Tensor(name="said", dtype=bytes, shape=(1,))], config=config)
        triton.serve()


@pytest.fixture
def running():
    with served(wide_server) as server:
        yield server


def left_on_disk(server):
    return list(Path("/dev/shm").glob(f"sidecar{server.process.pid}-*"))  # noqa: S108 - where shm_open puts its files


def asking(server, model):
    return [sys.executable, "-c", CLIENT, pickle.dumps((server, choose(server.models, model))).hex()]


def start_client(server, model):
    return subprocess.Popen(asking(server, model), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def known_of(client, server):
    return {name for name in known_to(server) if f"-{client.pid}-" in name}


def rows_of(*numbers):
    return np.repeat(np.array([numbers], np.float32).T, WIDE, axis=1)


def test_wide_tensors_are_written_where_a_real_triton_reads_them(running):
    """One start for all of it: a real Triton takes seconds."""
    requests_of_several_threads_do_not_meet(running)
    numbers_lie_beside_one_another_and_texts_are_sent(running)
    what_is_small_is_sent(running)
    a_region_that_is_outgrown_is_unregistered(running)
    what_a_killed_client_had_is_unregistered_by_the_next(running)
    memory_that_is_being_read_is_neither_unregistered_nor_used_again(running)
    assert not left_on_disk(running.locate())


def requests_of_several_threads_do_not_meet(running):
    client, before = running.client("double"), known_to(running.locate())
    with futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: client.infer([rows_of(n, n + 0.5)])[0], range(40)))
    assert [sorted(set(answer.reshape(-1).tolist())) for answer in found] == [[2 * n, 2 * n + 1] for n in range(40)]
    assert 1 <= len(known_to(running.locate()) - before) <= 4


def numbers_lie_beside_one_another_and_texts_are_sent(running):
    before = known_to(running.locate())
    numbers, flags = np.array([[2**53 + 1], [-1]]), np.array([[True], [False]])
    texts = np.array([["straße"], [""]], dtype=object)
    said = running.client("describe").infer([numbers, flags, texts, rows_of(1, 2)])[0]
    assert [row[0].decode() for row in said] == [f"{2**53 + 1} True straße {WIDE}", f"-1 False  {2 * WIDE}"]
    assert len(known_to(running.locate()) - before) == 1


def what_is_small_is_sent(running):
    before = known_to(running.locate())
    small = [np.array([[1]]), np.array([[True]]), np.array([["x"]], dtype=object), np.ones((1, 3), np.float32)]
    assert running.client("describe").infer(small)[0][0, 0] == b"1 True x 3"
    assert known_to(running.locate()) == before


def a_region_that_is_outgrown_is_unregistered(running):
    client, before = running.client("double"), known_to(running.locate())
    client.infer([rows_of(1)])
    small = known_to(running.locate()) - before
    assert client.infer([rows_of(*range(20))])[0][:, 0].tolist() == list(range(0, 40, 2))
    assert client.infer([rows_of(*range(5))])[0][:, 0].tolist() == [0, 2, 4, 6, 8]
    large = known_to(running.locate()) - before
    assert (len(small), len(large - small)) == (1, 1)
    client.infer([rows_of(*range(40))])
    assert not small & known_to(running.locate())


def what_a_killed_client_had_is_unregistered_by_the_next(running):
    server = running.locate()
    other, before = start_client(server, "double"), known_to(server)
    assert other.stdout.readline() == "asked\n"
    had = known_of(other, server)
    other.kill()
    other.communicate()
    assert len(had) == 1
    assert had <= known_to(server)
    running.client("double").infer([rows_of(1)])
    assert not had & known_to(server)
    assert before <= known_to(server)


def memory_that_is_being_read_is_neither_unregistered_nor_used_again(running):
    server, impatient = running.locate(), running.client("slow", timeout_s=3.0)
    other, before = start_client(server, "slow"), known_to(server)
    assert wait_until(lambda: known_of(other, server), 30)
    had = known_of(other, server)
    with pytest.raises(ServerUnavailableError, match=r"within 3 s"):
        impatient.infer([rows_of(1)])
    other.kill()
    other.communicate()
    tried = known_to(server) - before - had
    assert tried
    assert impatient._thread.memory._region is None
    assert running.client("double").infer([rows_of(1)])[0][0, 0] == 2
    assert had | tried <= known_to(server)
    after = running.locate()
    assert (after.process, after.restarts) == (server.process, server.restarts)


def test_tensors_are_sent_where_no_memory_can_be_shared_and_shared_again_when_it_can(running, monkeypatch):
    """One start for all of it, too."""
    what_ended_clients_had_is_unregistered_before_space_is_checked(running, monkeypatch)
    without_the_token_tensors_are_sent(running)
    without_space_tensors_are_sent(running)
    a_server_that_does_not_answer_for_a_moment_is_shared_with_again(running)
    a_restarted_server_gets_new_memory(running)
    assert not left_on_disk(running.locate())


def what_ended_clients_had_is_unregistered_before_space_is_checked(running, monkeypatch):
    server, seen = running.locate(), []
    other = start_client(server, "double")
    assert other.stdout.readline() == "asked\n"
    had = known_of(other, server)
    other.kill()
    other.communicate()
    with monkeypatch.context() as patched:
        patched.setattr(shared_memory, "_check_space", lambda size: seen.append(known_to(server)))
        running.client("double").infer([rows_of(1)])
    assert had
    assert not had & seen[0]


def without_the_token_tensors_are_sent(running):
    token = Path(running.locate().log).with_name("token")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    kept, before, client = token.read_text(), known_to(running.locate()), running.client("double")
    token.write_text("wrong")
    assert client.infer([rows_of(4)])[0][0, 0] == 8
    token.unlink()
    assert running.client("double").infer([rows_of(5)])[0][0, 0] == 10
    token.write_text(kept)
    assert client.infer([rows_of(6)])[0][0, 0] == 12
    assert known_to(running.locate()) == before  # a minute must pass before it tries again
    client._thread.memory._refused_until = 0.0
    assert client.infer([rows_of(7)])[0][0, 0] == 14
    assert len(known_to(running.locate()) - before) == 1


def in_memory_of_its_own(command, size):
    """Run it with a /dev/shm of so many bytes that is its own: the server does not see what is in it."""
    mount = 'mount -t tmpfs -o "size=$1" tmpfs /dev/shm && shift && exec "$@"'
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(size), *command]
    if subprocess.run([*alone[:4], "true"], check=False).returncode:
        pytest.skip("this machine gives no user namespaces, in which another /dev/shm could be mounted")
    return subprocess.run(alone, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)


def without_space_tensors_are_sent(running):
    server = running.locate()
    before = known_to(server)
    for size, says in (64 << 10, "more than half full"), (64 << 20, "unable to open shared memory"):
        asked = in_memory_of_its_own(asking(server, "double"), size)
        assert asked.stdout == "asked\n", asked.stderr
        assert re.search(f"sent to 'test', which is slower: .*{says}", asked.stderr, re.IGNORECASE)
    assert known_to(server) == before


def a_server_that_does_not_answer_for_a_moment_is_shared_with_again(running):
    server, client = running.locate(), running.client("double", timeout_s=5.0)
    (triton,) = (pid for pid, name in engine_watch.below(server.process.pid) if name == "tritonserver")
    os.kill(triton, signal.SIGSTOP)
    try:
        with pytest.raises(ServerUnavailableError, match=r"within 5 s"):
            client.infer([rows_of(1)])
    finally:
        os.kill(triton, signal.SIGCONT)
    assert client.infer([rows_of(3)])[0][0, 0] == 6
    assert client._thread.memory._region.name in known_to(server)
    assert running.locate().process == server.process


def a_restarted_server_gets_new_memory(running):
    client, before = running.client("double"), running.locate()
    with futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(client.infer, [rows_of(n)]) for n in range(200)]
        before.process.signal(signal.SIGKILL)
        found = [answer.result()[0][0, 0] for answer in asked]
    assert found == [2 * n for n in range(200)]
    after = running.locate()
    assert after.restarts == before.restarts + 1
    assert 1 <= len(known_to(after)) <= 2
    assert wait_until(lambda: not before.process.alive(), 5)
    assert not left_on_disk(before)
