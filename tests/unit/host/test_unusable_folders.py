"""Places that do not serve: no home, a home of somebody else, a state folder that runs no programs or is full."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.fakes import NOBODY, as_nobody, can_mount, may_lift, mounted_noexec

from server_utils import ConfigurationError
from server_utils.environments import builder
from server_utils.host import platform, scratch
from server_utils.host.processes import ProcessId
from server_utils.node.checks import scratch_folder
from server_utils.servers import state_dir
from server_utils.servers.lifecycle import ensure

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
needs_mount = pytest.mark.skipif(not can_mount(), reason="needs to be allowed to mount a disk")
CLI = "import sys; from server_utils.cli.main import app; app(sys.argv[1:])"


@needs_root
@pytest.mark.parametrize("command", [["env", "list"], ["env", "build", "triton"], ["assets", "fetch"]])
def test_a_user_without_a_home_is_told_what_to_set(command):
    said = as_nobody(CLI, *command)

    assert said.startswith(f"error: user {NOBODY} has no home folder: HOME is not set")
    assert "Set SPARK_SIDECAR_HOME to a folder" in said
    assert "Traceback" not in said


@needs_root
def test_the_doctor_of_a_user_without_a_home_goes_on_to_the_end():
    said = as_nobody(CLI, "doctor")

    assert "fix: set SPARK_SIDECAR_HOME" in said
    assert "state folder" in said
    assert "Traceback" not in said


@needs_root
def test_the_models_of_a_user_without_a_home_name_their_own_variable():
    code = "from server_utils.host import platform; platform.cache_root()"
    assert "Set SPARK_SIDECAR_CACHE to a folder" in as_nobody(code)
    assert as_nobody(code, SPARK_SIDECAR_CACHE="/models") == ""
    assert as_nobody(code, XDG_CACHE_HOME="/cache") == ""


@needs_root
def test_vllms_options_are_not_checked_on_a_driver_without_a_home():
    code = "from server_utils.backends.engine_options import engine_options as o; print(o('vllm', engine='vLLM'))"
    said = as_nobody(code)

    assert said.startswith("None\n")
    assert "checked when the servers start" in said


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o711])
def test_a_home_that_is_closed_to_this_user_is_told_and_not_taken_for_a_missing_one(open_folder, mode):
    home = open_folder / "home"
    home.mkdir(mode=mode)

    for command in (["env", "list"], ["env", "build", "triton"], ["doctor"]):
        said = as_nobody(CLI, *command, SPARK_SIDECAR_HOME=str(home))
        assert f"user {NOBODY} may not look into {home}: let others read it" in said
        assert "Traceback" not in said


@needs_root
@pytest.mark.parametrize("command", [["env", "build", "triton"], ["assets", "fetch"]])
def test_a_home_of_somebody_else_is_not_written_to_and_the_variable_is_named(open_folder, command):
    said = as_nobody(CLI, *command, SPARK_SIDECAR_HOME=str(open_folder))

    assert said.startswith(f"error: user {NOBODY} cannot write to {open_folder}/")
    assert "set SPARK_SIDECAR_HOME to another folder" in said
    assert list(open_folder.iterdir()) == []


@needs_root
def test_models_are_not_fetched_into_a_folder_of_somebody_else_and_the_variable_is_named(open_folder):
    code = "from server_utils.storage import cache; cache.hold('0' * 64)"

    said = as_nobody(code, SPARK_SIDECAR_CACHE=str(open_folder))

    assert f"ConfigurationError: user {NOBODY} cannot write to {open_folder}/locks" in said
    assert "set SPARK_SIDECAR_CACHE to another folder" in said


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null/home"])
def test_a_home_that_cannot_be_made_is_told_whoever_one_is(monkeypatch, home):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", home)

    with pytest.raises(ConfigurationError, match=rf"cannot write to {home}/envs \(.*\): .* set SPARK_SIDECAR_HOME"):
        builder.build("triton")


@needs_root
def test_an_environment_that_is_as_its_lock_says_needs_no_home_to_write_to(open_folder):
    python = open_folder / "envs" / "triton" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    lock = builder.lock_file("triton")
    (python.parents[1] / ".spark-sidecar-stamp").write_text(builder._stamp(lock))

    said = as_nobody(CLI, "env", "build", "triton", SPARK_SIDECAR_HOME=str(open_folder))

    assert said == f"{python}\n"


def test_a_machine_without_a_folder_for_temporary_files_is_told_what_to_set(monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delenv("SPARK_SIDECAR_STATE")
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)

    with pytest.raises(ConfigurationError, match="set SPARK_SIDECAR_STATE to a folder"):
        platform.state_root()


def test_a_state_folder_that_cannot_be_made_is_told_with_its_reason(monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_STATE", "/proc/none")

    with pytest.raises(
        ConfigurationError, match=r"/proc/none cannot be made \(No such file or directory\): set SPARK_"
    ):
        state_dir.folder("application", "name", ProcessId(1, 2))


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\u00a0b", " a", "x" * 60])
def test_programs_run_from_elsewhere_where_the_state_folders_path_will_not_do(monkeypatch, state_root, name):
    folder = state_root / name
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(folder))

    assert scratch.choose() == Path(tempfile.gettempdir()) / f"spark-sidecar-{os.getuid()}"
    found = scratch_folder()
    assert found.level == "warning"
    assert str(folder) in found.found
    assert "SPARK_SIDECAR_STATE" in found.fix
    assert not folder.exists()


def test_programs_run_from_below_the_state_folder_wherever_that_serves(state_root):
    assert scratch.choose() == state_root
    assert scratch_folder().level == "ok"


@pytest.fixture
def nowhere(monkeypatch, state_root, tmp_path):
    """No place serves: all have white space in their path."""
    for variable in ("SPARK_SIDECAR_STATE", "SPARK_SIDECAR_CACHE"):
        monkeypatch.setenv(variable, str(state_root / "a b"))
    monkeypatch.setattr(platform, "_DISKS", ())
    monkeypatch.setattr(platform, "_TEMPORARY", state_root / "c d")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(state_root / "e f"))


@pytest.mark.usefixtures("nowhere")
def test_where_no_place_serves_the_doctor_says_so(state_root):
    found = scratch_folder()
    assert found.level == "error"
    assert f"{state_root / 'a b'} has white space in its path, and no other place serves" in found.found


@pytest.mark.usefixtures("nowhere")
def test_where_no_place_serves_an_engine_that_runs_programs_from_there_is_not_started(make_launch):
    from server_utils.servers.engine_process import resolve

    folder = state_dir.folder("test", "fake", ProcessId(1, 2))
    with pytest.raises(ConfigurationError, match=r"a b/t/\w+ has white space in its path, .*: set SPARK_SIDECAR_STATE"):
        resolve(make_launch(executes_scratch=True), folder, {"http": 1}, "")


def test_an_engine_that_runs_none_starts_below_a_folder_with_a_space(make_launch, owner, monkeypatch, state_root):
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(state_root / "a b"))

    assert ensure(make_launch(), owner, timeout_s=30).state.value == "ready"


NOEXEC = """
import sys
from server_utils.host import scratch
from server_utils.node.checks import scratch_folder
print(scratch.choose())
print(scratch_folder())
"""


@needs_mount
def test_a_state_folder_that_is_mounted_noexec_is_found_and_another_place_taken(state_root):
    said = mounted_noexec(state_root, NOEXEC, SPARK_SIDECAR_STATE=str(state_root / "state"))

    assert said.startswith(f"{Path(tempfile.gettempdir()) / f'spark-sidecar-{os.getuid()}'}\n")
    assert "level='warning'" in said
    assert f"{state_root / 'state'} is on a file system that runs no programs (it is mounted noexec)" in said


FULL = """
import functools, os, sys
from pathlib import Path
from server_utils.backends import executor_tasks
from server_utils.host.processes import ProcessId
from server_utils.servers.launch import Launch
from server_utils.spark.executors import TaskPlacement
filler = open(Path(os.environ["SPARK_SIDECAR_STATE"]) / "filler", "wb", buffering=0)
os.chmod(os.environ["SPARK_SIDECAR_STATE"], 0o700)
try:
    while filler.write(bytes(4096)):
        pass
except OSError:
    pass
files = {"program.py": bytes(100_000)}
launch = Launch("test", "fake", "1", "triton", ("x",), ("http",), "/", files=files)
print(executor_tasks.start_and_poll(launch, 1, 1, TaskPlacement(ProcessId.of(os.getpid()), (), None)).failure)
"""


@needs_mount
def test_a_full_state_folder_is_told_with_the_server_and_what_to_do(state_root):
    said = mounted_noexec(state_root, FULL, SPARK_SIDECAR_STATE=str(state_root))

    assert said.startswith("server 'fake' on ")
    assert "No space left on device" in said
    assert "make room on its disk, or set SPARK_SIDECAR_STATE" in said


LIMITED = """
import os, resource, sys
from server_utils.host.processes import ProcessId
from server_utils.servers.launch import Launch
from server_utils.servers.lifecycle import ensure
os.environ["PYSPARK_EXECUTOR_MEMORY_MB"] = "2048"
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
argv = ("{python}", "-c", "raise MemoryError('too little')")
launch = Launch("test", "fake", "1", "triton", argv, ("http",), "/")
ensure(launch, ProcessId.of(os.getpid()), timeout_s=30)
"""


@needs_root
def test_a_limit_of_sparks_that_cannot_be_lifted_is_named_where_a_server_does_not_start(open_folder):
    python = open_folder / "home" / "envs" / "triton" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    state = open_folder / "state"
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)

    said = as_nobody(LIMITED, SPARK_SIDECAR_HOME=str(open_folder / "home"), SPARK_SIDECAR_STATE=str(state))

    assert "exited with status 1; it has 2.0 GiB of address space, by spark.executor.pyspark.memory, which " in said
    assert "MemoryError: too little" in said


@pytest.mark.parametrize(
    ("mark", "limit"), [("2048", "unlimited" if may_lift() else str(2 << 30)), (None, str(2 << 30))]
)
def test_only_a_limit_of_sparks_is_lifted_from_a_server(make_launch, owner, monkeypatch, mark, limit):
    """A child of the test's, as a Python worker is: the limit stays with whoever has it."""
    code = LIMIT_CHILD.format(mark=mark)
    make_launch()  # for its environment
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    done = subprocess.run(
        [sys.executable, "-c", code, str(owner.pid)], text=True, capture_output=True, check=False, timeout=60
    )

    assert done.stdout.split() == [limit, str(2 << 30)], done.stderr


LIMIT_CHILD = """
import dataclasses, os, resource, sys, uuid
from pathlib import Path
from support.fakes import FAKE_SERVER
from server_utils.host.processes import ProcessId
from server_utils.servers import lifecycle
from server_utils.servers.launch import Launch
from server_utils.servers.lifecycle import ensure
if {mark!r}:
    os.environ["PYSPARK_EXECUTOR_MEMORY_MB"] = {mark!r}
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
argv = ("{{python}}", "{{folder}}/program.py", "--port", "{{port:http}}")
files = {{"program.py": FAKE_SERVER.read_bytes()}}
launch = Launch("limits", "fake", uuid.uuid4().hex, "triton", argv, ("http",), "/health", files=files)
server = ensure(launch, ProcessId.of(int(sys.argv[1])), timeout_s=30)
def limit(pid):
    line = next(l for l in Path(f"/proc/{{pid}}/limits").read_text().splitlines() if l.startswith("Max address space"))
    return line.split()[3]
print(limit(server.process.pid), limit(os.getpid()))
lifecycle.stop(server.folder)
"""
