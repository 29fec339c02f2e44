"""One server per owner, however many ask and whatever died before: `ensure` and `stop` on real processes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from support.fakes import ask, command_of, contents, folder_of, kill, processes_of, run_python, wait_for_record

from server_utils.errors import ServerStartError, ServerUnavailableError
from server_utils.host import files
from server_utils.host.processes import ProcessId
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State
from server_utils.servers.orphans import SERVER_MARKER, marked

_WITHIN_S = 30

ENSURE = """
import pickle, sys
from server_utils.servers import lifecycle
launch, owner, timeout_s = pickle.loads(bytes.fromhex(sys.argv[1]))
print('up', flush=True)
sys.stdin.readline()
server = lifecycle.ensure(launch, owner, timeout_s=timeout_s)
print(server.supervisor.pid, server.process.pid, server.restarts)
"""


def ensure(launch, owner, **options):
    return lifecycle.ensure(launch, owner, timeout_s=_WITHIN_S, **options)


def start_asker(launch, owner):
    """A process that calls `ensure` once it is told to, as a Spark task does."""
    plain = pickle.dumps((launch, owner, _WITHIN_S)).hex()
    return run_python(ENSURE, plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def tree_of(folder):
    return marked(SERVER_MARKER, str(folder))


def test_a_server_that_is_ensured_answers_and_its_record_says_so(launch, owner):
    server = ensure(launch, owner)
    assert server.state is State.READY
    assert server.owner == owner
    assert ask(server, "/process") == server.process.pid
    assert state_dir.read(folder_of(server)) == server
    assert 0 < server.ready_s < _WITHIN_S


def test_a_server_that_runs_is_not_started_again(launch, owner):
    assert ensure(launch, owner) == ensure(launch, owner)


def test_two_owners_on_one_host_have_two_servers_on_different_ports(launch, make_owner):
    servers = [ensure(launch, make_owner()) for _ in range(2)]
    assert len({server.executor for server in servers}) == 2
    assert len({server.ports["http"] for server in servers}) == 2
    assert {ask(server, "/process") for server in servers} == {server.process.pid for server in servers}
    assert sorted(state_dir.folders("test", "fake")) == sorted(folder_of(server) for server in servers)


def test_the_end_of_one_owner_leaves_the_others_server_alone(launch, make_owner):
    owners = [make_owner(), make_owner()]
    gone, stays = (ensure(launch, owner) for owner in owners)
    kill(owners[0])
    wait_for_record(folder_of(gone), lambda now: now.state is State.STOPPED)
    assert ask(stays, "/process") == stays.process.pid


def test_eight_processes_that_ask_at_once_get_one_server(launch, owner, state_root):
    askers = [start_asker(launch, owner) for _ in range(8)]
    for asker in askers:
        assert asker.stdout.readline() == "up\n"
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    answers = [asker.communicate() for asker in askers]
    assert {errors for _, errors in answers} == {""}
    assert len({output for output, _ in answers}) == 1
    supervisor, server, restarts = map(int, answers[0][0].split())
    assert restarts == 0
    assert len({process.pid for process in processes_of(state_root)} - {supervisor, server}) == 1  # the watchdog


def test_a_server_outlives_the_process_that_asked_for_it(launch, owner):
    asker = start_asker(launch, owner)
    output, _ = asker.communicate("go\n")
    assert ensure(launch, owner).process.pid == int(output.split()[-2])


def test_an_asker_that_is_killed_half_way_leaves_nothing_in_the_way(launch, owner):
    """It holds the lock, has started a supervisor, and dies before it writes the record."""
    code = ENSURE.replace("server =", "lifecycle._first_record = lambda *_: os.kill(os.getpid(), 9)\nserver =")
    plain = pickle.dumps((launch, owner, _WITHIN_S)).hex()
    asker = run_python(f"import os\n{code}", plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    asker.communicate("go\n")
    assert asker.returncode == -signal.SIGKILL
    server = ensure(launch, owner)
    assert server.restarts == 0
    assert tree_of(folder_of(server)) == [server.process]


def test_a_crash_at_the_start_is_an_error_with_the_end_of_the_traceback(make_launch, owner):
    with pytest.raises(ServerStartError) as caught:
        ensure(make_launch("--crash", "no such model: /models/x", start_timeout_s=1000), owner)
    message = str(caught.value)
    assert "'fake'" in message
    assert "exited with status 1" in message
    assert message.endswith("RuntimeError: no such model: /models/x")


def test_a_launch_that_failed_is_not_started_again_but_a_new_one_is(make_launch, owner):
    failing = make_launch("--crash", "words")
    for _ in range(2):
        with pytest.raises(ServerStartError, match="words"):
            ensure(failing, owner)
    failed = state_dir.read(state_dir.folder("test", "fake", owner))
    assert failed.restarts == 0
    server = ensure(make_launch(), owner)
    assert (server.state, server.reason, server.restarts) == (State.READY, "", 0)


def test_an_environment_that_is_missing_is_an_error_that_says_what_to_do(make_launch, owner, monkeypatch, tmp_path):
    launch = make_launch()
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "empty"))
    with pytest.raises(ServerStartError, match="spark-sidecar env build triton"):
        ensure(launch, owner)


def test_a_command_that_is_not_there_is_an_error(make_launch, owner):
    with pytest.raises(ServerStartError, match="/no/such/program"):
        ensure(make_launch(argv=("/no/such/program",)), owner)


def test_a_server_that_is_not_ready_at_the_deadline_is_an_error_with_its_state_and_log(make_launch, owner):
    slow = make_launch("--print-lines", "3", "--never-ready")
    with pytest.raises(ServerUnavailableError, match=r"is starting after 6 s; its log ends:\n(.*\n)*line 2"):
        lifecycle.ensure(slow, owner, timeout_s=6)


def test_a_server_that_does_not_become_ready_is_ended_at_its_own_deadline(make_launch, owner):
    with pytest.raises(ServerStartError, match=r"was not ready within 4 s\n(.*\n)*line 2"):
        ensure(make_launch("--print-lines", "3", "--never-ready", start_timeout_s=4), owner)
    assert tree_of(state_dir.folder("test", "fake", owner)) == []


def test_a_lock_that_is_held_for_too_long_is_an_error(launch, owner):
    lock = state_dir.folder("test", "fake", owner) / "lock"
    with files.exclusive_lock(lock), pytest.raises(ServerUnavailableError, match="is not started after"):
        lifecycle.ensure(launch, owner, timeout_s=0.1)


def test_a_killed_supervisor_is_replaced_and_it_counts_as_a_restart(make_launch, owner):
    launch = make_launch("--daemon")
    server = ensure(launch, owner)
    before = tree_of(folder_of(server))
    kill(server.supervisor)
    again = ensure(launch, owner)
    assert (again.restarts, again.ports, again.reason) == (1, server.ports, "its supervisor was killed")
    assert not any(process.alive() for process in before)
    assert len(tree_of(folder_of(server))) == 2


def test_stop_ends_the_server_its_supervisor_and_all_that_it_left_behind(make_launch, owner, state_root):
    server = ensure(make_launch("--ignore-sigterm", "--daemon"), owner)
    assert len(tree_of(folder_of(server))) == 2
    lifecycle.stop(folder_of(server))
    assert processes_of(state_root) == []
    stopped = state_dir.read(folder_of(server))
    assert (stopped.state, stopped.reason, stopped.process) == (State.STOPPED, "told to stop", None)


def test_kill_ends_all_of_it_as_well(make_launch, owner, state_root):
    server = ensure(make_launch("--ignore-sigterm", "--daemon", stop_grace_s=1000), owner)
    lifecycle.kill(folder_of(server))
    assert processes_of(state_root) == []
    assert state_dir.read(folder_of(server)).state is State.STOPPED


def test_stop_while_the_server_starts_ends_it(make_launch, owner, state_root):
    launch = make_launch("--never-ready")
    folder = lifecycle.ensure_supervisor(launch, owner, timeout_s=_WITHIN_S)
    lifecycle.stop(folder)
    assert processes_of(state_root) == []
    assert state_dir.read(folder).state is State.STOPPED


def test_stopping_twice_or_what_was_never_started_is_fine(launch, owner):
    folder = state_dir.folder("test", "fake", owner)
    lifecycle.stop(folder)
    ensure(launch, owner)
    lifecycle.stop(folder)
    lifecycle.stop(folder)
    lifecycle.kill(folder)
    assert state_dir.read(folder).state is State.STOPPED


def test_stopping_what_failed_leaves_the_reason_in_the_record(make_launch, owner):
    with pytest.raises(ServerStartError):
        ensure(make_launch("--crash", "words"), owner)
    folder = state_dir.folder("test", "fake", owner)
    before = state_dir.read(folder)
    lifecycle.stop(folder)
    assert state_dir.read(folder) == before


def test_stop_does_not_touch_processes_that_have_the_numbers_of_those_of_a_record(launch, owner, make_owner):
    server = ensure(launch, owner)
    folder = folder_of(server)
    lifecycle.stop(folder)
    stranger = make_owner()
    earlier = ProcessId(stranger.pid, stranger.started - 1)
    forged = json.loads((folder / "record.json").read_text())
    forged |= {"state": "ready", "supervisor": vars(earlier), "process": vars(earlier)}
    (folder / "record.json").write_text(json.dumps(forged))
    lifecycle.stop(folder)
    lifecycle.kill(folder)
    assert stranger.alive()


def test_a_server_that_was_stopped_is_not_started_by_a_late_task(launch, owner, state_root):
    lifecycle.stop(folder_of(ensure(launch, owner)))
    with pytest.raises(ServerUnavailableError, match="was stopped; run actions before stop_servers"):
        ensure(launch, owner)
    assert processes_of(state_root) == []


def test_another_manager_of_the_same_name_is_refused(make_launch, owner):
    server = ensure(make_launch(), owner)
    with pytest.raises(ServerUnavailableError, match="another manager of the same name"):
        ensure(make_launch(), owner)
    assert ask(server, "/process") == server.process.pid


def test_another_manager_of_the_same_name_takes_over_where_it_says_so(make_launch, owner):
    first, second = make_launch("--daemon"), make_launch()
    server = ensure(first, owner)
    instead = ensure(second, owner, replace=True)
    assert (instead.launch_id, instead.restarts) == (second.id, 0)
    assert not server.supervisor.alive()
    assert tree_of(folder_of(server)) == [instead.process]
    with pytest.raises(ServerUnavailableError, match="another"):
        ensure(first, owner)


@pytest.mark.parametrize("name", ["two words", "org/model:1", "模型 größe 🙂", "..", "{port:http}"])
def test_a_server_may_be_called_anything(make_launch, owner, name):
    server = ensure(make_launch(name=name), owner)
    assert server.name == name
    assert [state_dir.read(folder) for folder in state_dir.folders("test", name)] == [server]
    lifecycle.stop(folder_of(server))


def test_no_secret_of_the_environment_is_written_to_disk(launch, owner, monkeypatch, state_root):
    secret = f"secret-{uuid.uuid4().hex}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    server = ensure(launch, owner, environ={"TOKEN": f"{secret}-2"})
    kill(server.process)
    wait_for_record(folder_of(server), lambda now: now.state is State.READY and now.restarts)
    lifecycle.stop(folder_of(server))
    assert not files_with(secret, state_root)


def test_a_secret_of_the_launch_is_known_to_the_program_alone_whatever_dies_and_whoever_starts_it_again(
    make_launch, owner, state_root
):
    """Supervisor, watchdog and downloads do not have it; another task's `ensure` gives it to the next supervisor."""
    secret = f"secret-{uuid.uuid4().hex}"
    launch = make_launch(env={"API_KEY": secret, "PLACE": "{folder}"})
    server = ensure(launch, owner)
    assert only_the_program_has(secret, server, state_root)
    kill(server.process)
    again = wait_for_record(folder_of(server), lambda now: now.state is State.READY and now.restarts)
    assert only_the_program_has(secret, again, state_root)
    kill(again.supervisor)
    asker = start_asker(launch, owner)
    assert asker.communicate("go\n")[0].split()[-1] == "2"
    assert only_the_program_has(secret, ensure(launch, owner), state_root)
    assert secret not in repr(launch)
    lifecycle.stop(folder_of(server))
    assert not files_with(secret, state_root)


def only_the_program_has(secret, server, state_root):
    environ = ask(server, "/environ")
    assert (environ["API_KEY"], environ["PLACE"]) == (secret, str(folder_of(server)))
    knowing = [process.pid for process in processes_of(state_root) if secret in str(process.environ())]
    assert knowing == [server.process.pid]
    assert not [process for process in processes_of(state_root) if secret in " ".join(command_of(process))]
    return not files_with(secret, state_root)


def files_with(secret, state_root):
    files = contents(state_root)
    assert len(files) > 4
    return [path for path, content in files.items() if secret.encode() in content]


def test_a_supervisor_that_ends_before_it_reads_its_input_is_an_error_that_quotes_it(launch, owner, monkeypatch):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(ServerStartError, match="its supervisor died while it was starting"):
        ensure(launch, owner)


def test_no_secret_of_the_environment_is_in_a_command_line(launch, owner, monkeypatch, state_root):
    secret = f"secret-{uuid.uuid4().hex}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    ensure(launch, owner)
    assert not [process for process in processes_of(state_root) if secret in " ".join(command_of(process))]


def test_all_files_of_a_server_are_private(launch, owner, state_root):
    ensure(launch, owner)
    open_to_others = [path for path in state_root.rglob("*") if path.lstat().st_mode & 0o077]
    shielded = [path for path in open_to_others if any(not parent.stat().st_mode & 0o077 for parent in path.parents)]
    assert open_to_others == shielded
    assert not state_root.stat().st_mode & 0o077


def test_the_supervisor_and_its_server_keep_no_file_of_the_asker_open(launch, owner, tmp_path):
    descriptor = os.open(tmp_path / "mine", os.O_CREAT | os.O_RDWR)
    server = ensure(launch, owner)
    os.close(descriptor)
    for process in (server.supervisor, server.process):
        opened = {entry.readlink().name for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
        assert not opened & {"mine", "lock"}


def test_a_server_with_a_longer_grace_than_the_patience_of_stop_gets_it(make_launch, owner, monkeypatch):
    monkeypatch.setattr(lifecycle, "_SUPERVISOR_END_S", 4.0)
    server = ensure(make_launch("--ignore-sigterm", stop_grace_s=5), owner)
    lifecycle.stop(folder_of(server))
    assert state_dir.read(folder_of(server)).reason == "told to stop"  # else its supervisor was killed on the way
