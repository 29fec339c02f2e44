"""Records: private, whole at every moment, and found again whatever things are called."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import subprocess
import time

import pytest
from support.fakes import run_python

from server_utils.errors import ConfigurationError
from server_utils.host import files
from server_utils.host.processes import ProcessId
from server_utils.servers import state_dir
from server_utils.servers.launch import Launch, Server, ServerStatus, State

OWNER = ProcessId(12, 345)
NAMES = ["model", "my model", "org/model", "../../etc", "..", ".", "t", "größe 模型 🙂", "x" * 300, "a\nb", "*", "-rf"]

WRITE_MANY = """
import dataclasses, sys
from pathlib import Path
from server_utils.servers import state_dir
folder = Path(sys.argv[1])
server = state_dir.read(folder)
for number in range(1000):
    state_dir.write(folder, dataclasses.replace(server, restarts=number, log_tail=str(number) * 2000))
"""


def make_server(**fields):
    known = {"launch_id": "id", "name": "n", "host": "h", "owner": OWNER, "supervisor": ProcessId(1, 2)}
    return Server(**known | fields)


@pytest.fixture
def folder():
    return state_dir.folder("application", "name", OWNER)


def test_a_record_is_read_as_it_was_written(folder):
    server = make_server(
        state=State.READY,
        process=ProcessId(7, 8),
        ports={"http": 8000, "grpc": 8001},
        restarts=2,
        log_tail="größe\n\udcff",
        ready_s=1.5,
        models={"m": {"inputs": [1, None]}},
    )
    state_dir.write(folder, server)
    assert state_dir.read(folder) == server


def test_a_status_as_json_has_the_record_first_and_then_what_is_looked_up():
    status = ServerStatus.of(make_server(), metrics={"running": 1.0}, rows=3, errors={"refused": 1})
    record = (
        *("launch_id", "name", "host", "owner", "supervisor", "state", "process", "ports", "restarts", "reason", "log"),
        *("log_tail", "started_at", "ready_s", "models", "replica"),
    )
    (plain,) = json.loads(state_dir.to_json([status]))
    assert tuple(plain) == (*record, "metrics", "rows", "errors")
    assert (plain["metrics"], plain["rows"], plain["errors"]) == ({"running": 1.0}, 3, {"refused": 1})


def test_what_is_looked_up_is_not_in_the_record(folder):
    state_dir.write(folder, make_server(log=str(folder / "server.log")))
    assert not {"metrics", "rows", "errors"} & set(json.loads((folder / "record.json").read_text()))
    assert state_dir.read(folder).folder == folder


def test_there_is_no_record_before_the_first(folder):
    assert state_dir.read(folder) is None


def test_a_reader_never_sees_half_a_record(folder):
    state_dir.write(folder, make_server())
    writer = run_python(WRITE_MANY, str(folder))
    seen = set()
    while writer.poll() is None:
        server = state_dir.read(folder)
        assert server.log_tail == str(server.restarts) * 2000 * (server.log_tail != "")
        seen.add(server.restarts)
    assert writer.returncode == 0
    assert len(seen) > 5
    assert state_dir.read(folder).restarts == 999
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_a_launch_is_read_as_it_was_written_but_for_its_environment_and_its_files_lie_beside_it(folder):
    launch = Launch(
        application="a",
        name="größe",
        id="1",
        environment="triton",
        argv=("{python}", "{folder}/program.py"),
        ports=("http", "grpc"),
        health="/health",
        env={"KEY": "value"},
        files={"program.py": b"\x00\xff"},
    )
    state_dir.write_launch(folder, launch)
    assert state_dir.read_launch(folder) == dataclasses.replace(launch, files={}, env={})
    assert (folder / "program.py").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("name", NAMES)
def test_any_text_is_a_name(name, state_root):
    folder = state_dir.folder("application", name, OWNER)
    assert folder.resolve().parents[1] == (state_root / "application").resolve()
    assert state_dir.folders("application", name) == [folder]
    assert len(folder.parent.name) < 60


def test_different_names_have_different_folders_and_all_are_found():
    made = {state_dir.folder("application", name, OWNER) for name in NAMES}
    assert len(made) == len(NAMES)
    assert set(state_dir.folders("application")) == made


def test_names_that_differ_only_in_what_a_file_name_cannot_hold_do_not_meet():
    assert len({files.slug(text) for text in ("a b", "a/b", "a-b", "a  b", "a\tb", " a b")}) == 6


def test_two_owners_have_folders_of_their_own():
    earlier, later = (
        state_dir.folder("a", "n", OWNER),
        state_dir.folder("a", "n", ProcessId(OWNER.pid, OWNER.started + 1)),
    )
    assert earlier != later
    assert set(state_dir.folders("a", "n")) == {earlier, later}


def test_an_application_sees_its_own_servers_only():
    state_dir.folder("one", "n", OWNER)
    assert state_dir.folders("two") == []


def test_everything_is_private_to_the_user(folder, state_root):
    old_mask = os.umask(0)
    try:
        state_dir.write(folder, make_server())
        deeper = state_dir.folder("other", "name", OWNER)
    finally:
        os.umask(old_mask)
    for path in (state_root, folder.parent, folder, deeper.parent, deeper):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "record.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777, 0o701])
def test_a_state_root_that_others_may_enter_is_refused(state_root, mode):
    state_root.chmod(mode)
    with pytest.raises(ConfigurationError, match="SPARK_SIDECAR_STATE"):
        state_dir.folder("a", "n", OWNER)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder to somebody else")
def test_a_state_root_of_somebody_else_is_refused(state_root):
    os.chown(state_root, 12345, 12345)
    with pytest.raises(ConfigurationError, match="of user 12345"):
        state_dir.folder("a", "n", OWNER)


@pytest.mark.parametrize("make", ["link to a folder", "link to nowhere", "file"])
def test_a_state_root_that_is_no_folder_is_refused(state_root, tmp_path, make):
    state_root.rmdir()
    if make == "file":
        state_root.touch(0o700)
    else:
        state_root.symlink_to(tmp_path if make == "link to a folder" else tmp_path / "none")
    with pytest.raises(ConfigurationError, match="SPARK_SIDECAR_STATE"):
        state_dir.folder("a", "n", OWNER)
    if state_root.is_symlink():
        state_root.unlink()


def test_a_socket_fits_into_the_scratch_folder_of_a_long_name():
    deep = state_dir.folder("application-with-a-long-id" * 4, "n" * 300, OWNER)
    assert len(str(state_dir.scratch(deep) / "pytriton-model-name-of-some-length.sock")) < 107


def age(path, days):
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_on_a_new_machine_there_is_nothing_to_forget(state_root):
    state_root.rmdir()
    state_dir.remove_old("mine")
    assert not state_root.exists()


def test_what_other_applications_left_is_forgotten_after_a_week(state_root):
    for application in ("mine", "old", "fresh"):
        state_dir.write(state_dir.folder(application, "n", OWNER), make_server())
    old = state_dir.folders("old")[0]
    state_dir.scratch(old).mkdir(parents=True)
    age(state_root / "old", 8)
    age(state_root / "mine", 8)
    state_dir.remove_old("mine")
    assert sorted(path.name for path in state_root.iterdir() if path.name != "t") == ["fresh", "mine"]
    assert not state_dir.scratch(old).exists()


def test_an_application_that_runs_is_not_forgotten(state_root, owner):
    state_dir.write(state_dir.folder("old", "n", OWNER), make_server(supervisor=owner))
    age(state_root / "old", 30)
    state_dir.remove_old("mine")
    assert (state_root / "old").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"supervisor": {"number": 1}}'])
def test_a_record_that_cannot_be_read_does_not_keep_old_ones(state_root, content):
    (state_dir.folder("old", "n", OWNER) / "record.json").write_text(content)
    age(state_root / "old", 30)
    state_dir.remove_old("mine")
    assert not (state_root / "old").exists()


def test_two_writers_at_once_leave_a_whole_record(folder):
    state_dir.write(folder, make_server())
    writers = [run_python(WRITE_MANY, str(folder), stderr=subprocess.PIPE) for _ in range(2)]
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == ["", ""]


def test_a_launch_that_is_stopped_before_any_start_leaves_a_private_root(state_root):
    shutil.rmtree(state_root)

    state_dir.mark_stopped("application", "name", "1")

    assert stat.S_IMODE(state_root.stat().st_mode) == 0o700
    assert state_dir.folder("application", "name", OWNER).is_dir()
