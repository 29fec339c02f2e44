"""A NIM's container without Spark: real Docker, a stand-in image. What it may see, who reaches it, and every death."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid

import psutil
import pyarrow as pa
import pytest
import urllib3
from support import containers
from support.fakes import contents

from server_utils import NIMServerManager
from server_utils.backends.nim.manager import DIALECT
from server_utils.backends.openai import Engine
from server_utils.errors import ServerStartError
from server_utils.host.processes import wait_until
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.columns import arrow_column
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.request_counters import RequestCounters
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State

START_S = 120
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def docker():
    with containers.docker() as variables:
        yield variables


@pytest.fixture(scope="module")
def image(docker):
    return containers.make_image(docker)


class Prepared(NIMServerManager):
    """A manager that keeps its engine in place of starting it everywhere."""

    def _start_engine(self, engine: Engine, **_):
        self.engine = engine


class Nim:
    """One server, owned by a process that a test makes."""

    def __init__(self, owner, docker, image, *, model=None, env=None, hang_timeout_s=30, **options):
        manager = Prepared("fake", model, image=image)
        manager.start_servers(env=docker | {"NGC_API_KEY": KEY} | (env or {}), **options)
        self.owner, self.docker = owner, docker
        self.launch = manager.engine.launch(
            None,
            model=manager.model_path,
            application="test",
            name="fake",
            id=uuid.uuid4().hex,
            environment=None,
            files=manager.engine.files("fake", DIALECT, manager.program),
            start_timeout_s=START_S,
            stop_grace_s=5,
            hang_timeout_s=hang_timeout_s,
            max_restarts=9,
        )

    def ensure(self):
        return lifecycle.ensure(self.launch, self.owner, timeout_s=START_S)

    @property
    def folder(self):
        return state_dir.folder("test", "fake", self.owner)

    def record(self):
        return state_dir.read(self.folder)

    def ask(self, texts, **fields):
        """The answers to texts, as the column functions get them."""
        request = CompletionRequest(self.launch, Endpoint.GENERATE, "fake", dialect=DIALECT, **fields)
        client = OpenAIClient(self.ensure, timeout_s=60, key=None)
        connections = [Connection(client, ConcurrencyLimit(self.folder, DIALECT), RequestCounters(self.folder))]
        return next(answers(request, connections, iter([pa.array(texts, pa.string())]), arrow_column)).to_pylist()

    def containers(self):
        return containers.run(self.docker, "ps", "--all", "--quiet").split()

    def client(self):
        """The client of the container engine, the only child of the program."""
        return psutil.Process(self.record().process.pid).children()[0]


@pytest.fixture
def nim(owner, docker, image):
    server = Nim(owner, docker, image)
    server.ensure()
    yield server
    lifecycle.stop(server.folder)
    assert not server.containers()


def inside(docker, word):
    """Processes of containers with this word in their command line."""
    return [each for each in psutil.process_iter(["cmdline"]) if word in " ".join(each.info["cmdline"] or [])]


def test_a_container_serves_on_loopback_and_shows_its_key_nowhere(nim, docker, state_root):
    server = nim.record()

    assert server.models["fake"]["max_model_len"] == 64
    assert nim.ask(["one", None, "two"]) == ["ONE", None, "TWO"]
    published = containers.run(docker, "ps", "--format", "{{.Ports}}")
    assert published == f"127.0.0.1:{server.ports['http']}->8000/tcp"
    assert f"nim starts as {os.getuid()} with a key" in (nim.folder / "server.log").read_text()
    assert not inside(docker, KEY)
    assert not [path for path, content in contents(state_root).items() if KEY.encode() in content]


def test_a_row_that_the_engine_dies_of_is_found_and_the_others_are_answered(nim):
    texts = [f"row {number}" if number != 7 else "die" for number in range(20)]

    rows = nim.ask(texts, on_error="struct")

    assert [number for number, each in enumerate(rows) if each["error"]] == [7]
    assert [each["value"] for each in rows[:7]] == [text.upper() for text in texts[:7]]
    assert nim.record().restarts >= 2


def kill_client(nim):
    nim.client().kill()


def kill_engine(nim):
    next(each for each in inside(nim.docker, "fake_nim.py engine")).kill()


def kill_container(nim):
    containers.run(nim.docker, "kill", *nim.containers())


def kill_program(nim):
    nim.record().process.signal(signal.SIGKILL)


def kill_supervisor(nim):
    nim.record().supervisor.signal(signal.SIGKILL)


def test_after_every_death_a_new_container_answers_and_nothing_is_left_of_the_old(nim):
    for deadly in (kill_client, kill_engine, kill_container, kill_program, kill_supervisor):
        before, old = nim.record(), set(nim.containers())

        deadly(nim)

        assert wait_until(lambda: not old & set(nim.containers()), 60), deadly  # noqa: B023
        assert nim.ask(["again"]) == ["AGAIN"], deadly
        assert nim.record().process != before.process
        assert len(nim.containers()) == 1


def test_the_container_ends_with_its_executor(owner, docker, image):
    nim = Nim(owner, docker, image)
    nim.ensure()

    owner.signal(signal.SIGKILL)

    assert wait_until(lambda: not nim.containers(), 60)
    assert wait_until(lambda: nim.record().state is State.STOPPED, 60)


def test_a_paused_container_is_replaced(owner, docker, image):
    nim = Nim(owner, docker, image, hang_timeout_s=3)
    nim.ensure()
    before = nim.record()

    containers.run(docker, "pause", *nim.containers())

    assert wait_until(lambda: nim.record().process not in (None, before.process), 60)
    assert nim.ask(["again"]) == ["AGAIN"]
    assert "stopped answering" in nim.record().reason
    lifecycle.stop(nim.folder)
    assert not nim.containers()


def test_podman_runs_it_the_same_way_and_it_ends_with_its_executor(owner):
    with containers.podman() as podman:
        nim = Nim(owner, podman, containers.make_image(podman, engine="podman"), container_engine="podman")
        nim.ensure()
        port = nim.record().ports["http"]
        published = containers.run(podman, "ps", "--format", "{{.Ports}}", engine="podman")
        assert published == f"127.0.0.1:{port}->8000/tcp"
        assert nim.ask(["one", None, "two"]) == ["ONE", None, "TWO"]
        first = process_of_podman(podman)
        kill_program(nim)
        assert wait_until(lambda: not psutil.pid_exists(first), 60)
        assert nim.ask(["again"]) == ["AGAIN"]
        second = process_of_podman(podman)
        owner.signal(signal.SIGKILL)
        assert wait_until(lambda: not psutil.pid_exists(second), 60)


def process_of_podman(podman):
    """The first process of its only container."""
    names = containers.run(podman, "ps", "--quiet", engine="podman").split()
    return int(containers.run(podman, "inspect", "--format", "{{.State.Pid}}", *names, engine="podman"))


def test_a_models_folder_is_mounted_and_options_reach_the_image(owner, docker, image, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    options = {"profile": "p-1", "max_model_len": 64, "gpu_memory_utilization": 0.5, "enforce_eager": True}
    nim = Nim(owner, docker, image, model=tmp_path, env={"NIM_LOG_LEVEL": "A {b} c"}, **options)
    try:
        nim.ensure()
        variables = nim.ask(["variables"])[0]
        assert '"NIM_MODEL_PROFILE": "p-1"' in variables
        assert '"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization 0.5 --enforce-eager"' in variables
        assert '"NIM_MODEL_PATH": "/model"' in variables
        assert '"NIM_LOG_LEVEL": "A {b} c"' in variables
        assert containers.run(docker, "exec", nim.containers()[0], "cat", "/model/config.json") == "{}"
    finally:
        lifecycle.stop(nim.folder)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("image", "cannot pull image localhost:1/none/such:2.0: docker says: .*"),
        ("name", "the image serves other, not 'fake': it does not heed NIM_SERVED_MODEL_NAME"),
        ("daemon", "The container engine of this host does not answer: start it on every node"),
        ("engine", "this host has no podman .*optional component DOCKER"),
    ],
)
def test_what_cannot_start_says_why_and_leaves_nothing(owner, docker, image, problem, message):
    env = {"name": {"FAKE_SERVED_NAME": "other"}, "daemon": {"DOCKER_HOST": "unix:///nowhere/socket"}}
    engine = {"engine": {"container_engine": "podman"}}
    if problem == "engine" and shutil.which("podman"):
        pytest.skip("this host has podman")
    nim = Nim(
        owner,
        docker,
        "localhost:1/none/such:2.0" if problem == "image" else image,
        env=env.get(problem),
        **engine.get(problem, {}),
    )

    with pytest.raises(ServerStartError, match=message):
        nim.ensure()
    assert wait_until(lambda: not nim.containers(), 30)


def test_a_user_without_rights_is_told_of_the_group(docker):
    program = containers.FAKE_NIM.parents[2] / "server_utils/backends/nim/program.py"
    code = (
        f"import sys; sys.path[:0] = [{str(program.parent)!r}, {str(program.parents[1])!r}, "
        f"{str(program.parents[2] / 'node')!r}]; import program; program.image_command('docker', 'none/such:2.0')"
    )
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code],
        env=os.environ | docker | {"USER": "yarn"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "add the user to the group docker on every node (usermod -aG docker yarn)" in done.stderr


def test_its_front_end_answers_only_when_the_engine_does(nim):
    page = urllib3.request("GET", nim.record().url("http") + "/v1/health/live")

    assert page.status == 200
