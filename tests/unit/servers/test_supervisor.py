"""What a supervisor does about a server that misbehaves: every fault is real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid
from pathlib import Path

import psutil
import pytest
from support.fakes import FAKE_SERVER, ask, folder_of, kill, processes_of, run_python, wait_for_record

from server_utils.errors import ServerStartError
from server_utils.host.processes import ProcessId, descendants, wait_until
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State
from server_utils.servers.orphans import SERVER_MARKER, marked

_WITHIN_S = 30


def ensure(launch, owner, **options):
    return lifecycle.ensure(launch, owner, timeout_s=_WITHIN_S, **options)


def restarted(server):
    """The record of the server that replaced this one."""
    return wait_for_record(folder_of(server), lambda now: now.state is State.READY and now.restarts > server.restarts)


def gone(folder, seconds=10):
    return wait_until(lambda: not marked(SERVER_MARKER, str(folder)), seconds)


def test_a_server_that_is_killed_is_restarted_on_the_same_ports(launch, owner):
    server = ensure(launch, owner)
    kill(server.process)
    again = restarted(server)
    assert (again.restarts, again.ports, again.supervisor) == (1, server.ports, server.supervisor)
    assert again.process != server.process
    assert "SIGKILL" in again.reason
    assert ask(again, "/process") == again.process.pid


def test_a_server_that_exits_is_restarted_and_the_record_says_why(launch, owner):
    server = ensure(launch, owner)
    with pytest.raises(ConnectionError):
        ask(server, "/do/exit")
    again = restarted(server)
    assert again.reason == "exited with status 7"
    assert again.log_tail == "listening"


def test_a_server_that_is_stopped_in_its_tracks_is_replaced(make_launch, owner):
    server = ensure(make_launch(hang_timeout_s=0.5), owner)
    server.process.signal(signal.SIGSTOP)
    again = restarted(server)
    assert "stopped answering" in again.reason
    assert not server.process.alive()


def test_a_server_that_stops_listening_while_its_process_lives_is_replaced(make_launch, owner):
    server = ensure(make_launch(hang_timeout_s=1000), owner)
    ask(server, "/do/stop-listening")
    again = restarted(server)
    assert again.reason == "nobody listens on its port any more"
    assert again.ports == server.ports
    assert not server.process.alive()


def test_a_server_whose_program_has_no_heartbeat_is_replaced_though_it_answers(make_launch, owner):
    options = ("--readiness-file", "{folder}/ready.json")
    server = ensure(make_launch(*options, has_readiness_file=True, hang_timeout_s=0.5), owner)
    assert server.models == {"fake": {"inputs": ["x"]}}
    ask(server, "/do/stop-heartbeat")
    assert "stopped answering" in restarted(server).reason


def test_a_server_that_answers_but_has_no_readiness_file_is_not_ready(make_launch, owner):
    silent = make_launch(has_readiness_file=True, start_timeout_s=2)
    with pytest.raises(ServerStartError, match="was not ready within 2 s"):
        ensure(silent, owner)


def test_a_slow_health_check_within_the_bound_is_forgiven(make_launch, owner):
    server = ensure(make_launch(hang_timeout_s=1000), owner)
    ask(server, "/do/hang")
    assert not wait_until(lambda: state_dir.read(folder_of(server)) != server, 3)
    assert server.process.alive()


def test_too_many_restarts_are_a_failure_with_the_reason(make_launch, owner):
    launch = make_launch(max_restarts=1)
    server = ensure(launch, owner)
    kill(server.process)
    kill(restarted(server).process)
    failed = wait_for_record(folder_of(server), lambda now: now.state is State.FAILED)
    assert "restarted 1 times in ten minutes already" in failed.reason
    assert gone(folder_of(server))
    with pytest.raises(ServerStartError, match="already"):
        ensure(launch, owner)


def test_a_server_that_cannot_restart_is_tried_with_a_pause_until_it_counts_as_failed(make_launch, owner, tmp_path):
    program = tmp_path / "program.py"
    program.write_bytes(FAKE_SERVER.read_bytes())
    argv = ("{python}", str(program), "--port", "{port:http}")
    server = ensure(make_launch(argv=argv, max_restarts=2), owner)
    program.unlink()
    kill(server.process)
    failed = wait_for_record(folder_of(server), lambda now: now.state is State.FAILED)
    assert failed.restarts == 2
    assert "No such file" in failed.log_tail


def test_the_owners_end_takes_the_server_and_its_stubborn_grandchildren_along(make_launch, owner):
    server = ensure(make_launch("--ignore-sigterm", "--daemon", stop_grace_s=1000), owner)
    tree = marked(SERVER_MARKER, str(folder_of(server)))
    assert len(tree) == 2
    owner.signal(signal.SIGKILL)
    assert wait_until(lambda: not any(process.alive() for process in tree), 5)
    wait_for_record(folder_of(server), lambda now: now.state is State.STOPPED and now.reason == "its executor is gone")


def test_an_owner_that_is_gone_when_the_supervisor_comes_gets_no_server(launch, make_owner):
    owner = make_owner()
    kill(owner)
    with pytest.raises(ServerStartError, match="its supervisor died"):
        ensure(launch, owner)


def test_a_server_does_not_outlive_its_supervisor(launch, owner):
    server = ensure(launch, owner)
    kill(server.supervisor)
    assert wait_until(lambda: not server.process.alive(), 5)


def test_what_a_server_has_started_does_not_outlive_a_killed_supervisor_either(make_launch, owner, state_root):
    server = ensure(make_launch("--daemon"), owner)
    assert len(processes_of(state_root)) >= 4  # supervisor, watchdog, server, and its stubborn grandchild
    kill(server.supervisor)
    assert wait_until(lambda: not processes_of(state_root), 10)


def test_a_fault_of_the_supervisor_leaves_no_grandchildren(make_launch, owner):
    server = ensure(make_launch("--daemon"), owner)
    folder = folder_of(server)
    (folder / "record.json").unlink()
    (folder / "record.json").mkdir()  # it cannot be replaced by a file
    server.process.signal(signal.SIGKILL)
    assert gone(folder)
    assert wait_until(lambda: not server.supervisor.alive(), 10)
    (folder / "record.json").rmdir()


def test_a_supervisor_that_is_not_the_one_of_the_record_starts_nothing(launch, owner):
    server = ensure(launch, owner)
    code = "import sys; from server_utils.servers.supervisor import main; main()"
    other = run_python(code, str(folder_of(server)), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert "started by lifecycle.ensure" in other.communicate()[1]
    assert state_dir.read(folder_of(server)) == server
    assert len(marked(SERVER_MARKER, str(folder_of(server)))) == 1


def test_orphans_that_end_do_not_stay_as_zombies(make_launch, owner):
    server = ensure(make_launch("--short-daemons", "5"), owner)

    supervisor = psutil.Process(server.supervisor.pid)
    assert wait_until(lambda: [child.pid for child in supervisor.children()] == [server.process.pid], 10)


def test_a_free_port_that_the_launch_prefers_is_taken_and_kept_over_restarts(make_launch, owner, free_port):
    server = ensure(make_launch(preferred_ports={"http": free_port}), owner)
    assert server.ports == {"http": free_port}
    kill(server.process)
    assert restarted(server).ports == {"http": free_port}


def test_of_two_servers_that_prefer_one_port_the_second_gets_another(make_launch, make_owner, free_port):
    launch = make_launch(preferred_ports={"http": free_port})
    first, second = (ensure(launch, make_owner()) for _ in range(2))
    assert first.ports["http"] == free_port != second.ports["http"]
    assert ask(second, "/process") == second.process.pid


def test_a_preferred_port_that_a_stranger_has_is_left_to_it(make_launch, owner):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        server = ensure(make_launch(preferred_ports={"http": taken}), owner)
        assert server.ports["http"] != taken
        assert ask(server, "/process") == server.process.pid


@pytest.fixture
def free_port():
    """A port that nobody listens on, and that the kernel has just given, so that it gives it to nobody else soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_port_that_a_stranger_takes_before_the_server_does_is_exchanged(make_launch, owner, tmp_path):
    launch = make_launch("--wait-for", str(tmp_path / "go"))
    folder = lifecycle.ensure_supervisor(launch, owner, timeout_s=_WITHIN_S)
    starting = wait_for_record(folder, lambda now: now.process is not None)
    with socket.create_server(("127.0.0.1", starting.ports["http"])):
        (tmp_path / "go").touch()
        server = ensure(launch, owner)
        assert server.ports["http"] != starting.ports["http"]
        assert ask(server, "/process") == server.process.pid
    assert server.restarts == 0  # it was never healthy before


def test_a_port_that_a_stranger_takes_while_the_server_is_down_is_exchanged(make_launch, owner):
    server = ensure(make_launch(hang_timeout_s=0.5), owner)
    ask(server, "/do/stop-listening")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert wait_until(lambda: listens(stranger, server.ports["http"]), 10)
        again = restarted(server)
        assert again.ports["http"] != server.ports["http"]


def test_a_first_start_whose_program_asks_for_another_has_two_more(make_launch, owner):
    server = ensure(make_launch("--bad-starts", "2", "--exit-code", str(os.EX_TEMPFAIL)), owner)
    assert ask(server, "/process") == server.process.pid
    assert server.restarts == 0  # it was never healthy before


@pytest.mark.parametrize(("status", "starts"), [(os.EX_TEMPFAIL, 3), (1, 1)])
def test_a_first_start_fails_at_the_third_time_its_program_asks_or_at_once_where_it_does_not(
    make_launch, owner, status, starts
):
    launch = make_launch("--bad-starts", "9", "--exit-code", str(status))
    folder = lifecycle.ensure_supervisor(launch, owner, timeout_s=_WITHIN_S)
    with pytest.raises(ServerStartError, match=f"exited with status {status}"):
        ensure(launch, owner)
    assert (folder / "starts").read_text() == "." * starts


def listens(stranger, port):
    try:
        stranger.bind(("127.0.0.1", port))
    except OSError:
        return False
    stranger.listen()
    return True


def test_files_in_shared_memory_that_are_named_after_a_killed_server_are_removed(launch, owner):
    server = ensure(launch, owner)
    mine = shared_memory_file(f"pytrtion{server.process.pid}-{uuid.uuid4()}")
    of_its_client = shared_memory_file(f"sidecar{server.process.pid}-1-1-{uuid.uuid4().hex}")
    others = [shared_memory_file(f"{name}-{uuid.uuid4()}") for name in (f"a{server.process.pid}0", "weights")]
    kill(server.process)
    restarted(server)
    assert [path.exists() for path in (mine, of_its_client, *others)] == [False, False, True, True]
    for path in others:
        path.unlink()


def shared_memory_file(name):
    path = Path("/dev/shm") / name  # noqa: S108 - where shm_open puts its files
    path.touch()
    return path


def test_temporary_files_of_a_server_go_with_it(launch, owner):
    server = ensure(launch, owner)
    scratch = state_dir.scratch(folder_of(server))
    assert ask(server, "/environ")["TMPDIR"] == str(scratch)
    (scratch / "model").write_text("large")
    lifecycle.stop(folder_of(server))
    assert not scratch.exists()


def test_the_server_sees_nothing_of_sparks_python(launch, owner, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", "/x")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # it is not asked for loopback addresses either
    environ = ask(ensure(launch, owner, environ={"CUDA_VISIBLE_DEVICES": "3"}), "/environ")
    assert environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert environ["HTTP_PROXY"] == "http://127.0.0.1:1"
    assert not [name for name in environ if name.startswith(("PYSPARK_", "PYTHON")) and name != "PYTHONUNBUFFERED"]


def test_the_log_of_a_talkative_server_ends_with_its_last_words(make_launch, owner):
    with pytest.raises(ServerStartError, match="RuntimeError: after all that"):
        ensure(make_launch("--print-lines", "20000", "--crash", "after all that"), owner)


def test_a_supervisor_has_no_child_but_its_server_and_no_port(launch, owner, state_root):
    server = ensure(launch, owner)
    assert {process.pid for process in descendants(server.supervisor.pid)} == {server.process.pid}
    ours = {process.pid for process in processes_of(state_root)} - {server.process.pid, server.supervisor.pid}
    assert len(ours) == 1  # the watchdog, which is nobody's child
    assert ProcessId.of(server.supervisor.pid) == server.supervisor
