"""Identities, trees and their end by terminate, then kill, on processes made for the purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from support.fakes import kill, run_python

from server_utils.host.processes import ProcessId, ancestor, descendants, terminate, wait_until
from server_utils.servers.launch import Server, State
from server_utils.servers.orphans import find_orphans, marked

# Prints a line once it no longer listens to SIGTERM.
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


@pytest.fixture
def stubborn():
    process = run_python(STUBBORN, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "deaf\n"
    yield ProcessId.of(process.pid)
    process.kill()
    process.communicate()


def test_a_process_is_alive_until_it_is_killed(owner):
    assert owner.alive()
    owner.signal(signal.SIGKILL)
    assert wait_until(lambda: not owner.alive(), 10)  # it is a zombie now: its parent has not waited for it
    assert Path(f"/proc/{owner.pid}").exists()


LEADERLESS = """
import ctypes, threading
threading.Thread(target=input).start()
print("leaves", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended_is_alive_until_the_last_one_has():
    """Else its ports would count as free while it holds them still."""
    child = run_python(LEADERLESS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == "leaves\n"
        identity, stat = ProcessId.of(child.pid), Path(f"/proc/{child.pid}/stat")
        assert wait_until(lambda: ") Z " in stat.read_text(), 10)
        assert identity.alive()
        identity.signal(signal.SIGKILL)
        assert wait_until(lambda: not identity.alive(), 10)
    finally:
        child.kill()
        child.communicate()


def test_there_is_no_identity_without_a_process():
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        ProcessId.of(child.pid)


def test_a_process_whose_name_holds_brackets_and_spaces_has_an_identity(tmp_path):
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/cat")
    child = subprocess.Popen([program], stdin=subprocess.PIPE)
    assert wait_until(lambda: program.name in Path(f"/proc/{child.pid}/stat").read_text(), 10)
    assert ProcessId.of(child.pid).alive()
    child.communicate()


def test_a_later_process_with_the_same_number_is_not_signalled(owner):
    earlier = ProcessId(owner.pid, owner.started - 1)
    assert not earlier.alive()
    earlier.signal(signal.SIGKILL)
    assert owner.alive()


def test_a_number_that_belongs_to_a_thread_by_now_is_not_signalled():
    over, threads = threading.Event(), []
    thread = threading.Thread(target=lambda: (threads.append(threading.get_native_id()), over.wait()))
    thread.start()
    assert wait_until(lambda: threads, 10)
    earlier = ProcessId(threads[0], 1)
    earlier.signal(signal.SIGKILL)
    assert not earlier.alive()
    over.set()
    thread.join()


def test_a_process_that_is_gone_is_signalled_without_an_error():
    child = subprocess.Popen(["true"])
    identity = ProcessId.of(child.pid)
    child.wait()
    identity.signal(signal.SIGKILL)


def test_descendants_are_children_and_their_children():
    code = "import subprocess; subprocess.run(['cat'])"
    child = run_python(code, stdin=subprocess.PIPE)
    assert wait_until(lambda: len(descendants(child.pid)) == 1, 10)
    assert {child.pid} < {process.pid for process in descendants(os.getpid())}
    child.communicate()
    assert descendants(child.pid) == []


def test_a_marked_process_is_found_whoever_its_parent_is():
    value = uuid.uuid4().hex
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=2).pid)"
    child = run_python(f"import os; os.environ['A_MARK'] = '{value}'; {code}", stdout=subprocess.PIPE)
    orphan = int(child.communicate()[0])
    found = marked("A_MARK", value)
    assert [process.pid for process in found] == [orphan]
    kill(found[0])
    assert marked("A_MARK", value) == []


def test_a_process_without_a_mark_is_found_in_the_session_of_one_that_has_it():
    """vLLM's engine writes its title over its environment; here it has none to begin with."""
    value = uuid.uuid4().hex
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60'], env={}).pid, flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"A_MARK": value}, stdout=subprocess.PIPE, start_new_session=True
    )
    engine = ProcessId.of(int(child.stdout.readline()))
    assert [process.pid for process in marked("A_MARK", value)] == [child.pid]
    assert {process.pid for process in find_orphans("A_MARK", value)} == {child.pid, engine.pid}
    assert terminate(lambda: find_orphans("A_MARK", value), leader=None, grace_s=0) == []
    child.communicate()
    assert not engine.alive()


def test_the_nearest_ancestor_of_a_name_is_found():
    code = "from server_utils.host.processes import ancestor; print(ancestor('{}'))"
    name = subprocess.run(["ps", "-o", "comm=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    child = run_python(code.format(name.stdout.strip()), stdout=subprocess.PIPE)
    assert child.communicate()[0].strip() == str(ProcessId.of(os.getpid()))
    assert ancestor("no such program") is None


def test_a_process_that_listens_to_sigterm_ends_without_sigkill(make_owner):
    child = run_python("import signal; print('up', flush=True); signal.pause()", stdout=subprocess.PIPE)
    child.stdout.readline()
    leader = ProcessId.of(child.pid)
    assert terminate(lambda: [leader] * leader.alive(), leader=leader, grace_s=30) == []
    child.communicate()
    assert child.returncode == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(stubborn):
    assert terminate(lambda: [stubborn] * stubborn.alive(), leader=stubborn, grace_s=0.1) == []
    assert not stubborn.alive()


def test_without_grace_nobody_is_asked(stubborn):
    assert terminate(lambda: [stubborn] * stubborn.alive(), leader=stubborn, grace_s=0) == []
    assert not stubborn.alive()


def test_terminate_ends_processes_that_fork_while_they_are_killed():
    fork_for_ever = "import os, time\nwhile os.fork(): time.sleep(0.01)\ntime.sleep(0.2)"
    child = subprocess.Popen([sys.executable, "-c", fork_for_ever])
    assert wait_until(lambda: len(descendants(child.pid)) > 5, 10)
    leader = ProcessId.of(child.pid)
    tree = lambda: descendants(child.pid) + [leader] * leader.alive()  # noqa: E731 - as it is used
    assert terminate(tree, leader=leader, grace_s=0) == []
    child.wait()


def test_terminate_names_those_that_outlive_it(owner):
    assert terminate(lambda: [ProcessId(owner.pid, 1)], leader=None, grace_s=0, insist_s=0.1) == [
        ProcessId(owner.pid, 1)
    ]


def test_waiting_tells_whether_the_condition_came_true():
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 10)
    assert not wait_until(lambda: False, 0)


def test_two_executors_of_one_host_have_names_of_their_own():
    def server(pid):
        return Server("id", "name", "host", ProcessId(pid, 5), ProcessId(1, 1), ports={"http": 8000})

    assert server(1).executor != server(2).executor
    assert server(1).url("http") == "http://127.0.0.1:8000"


def test_only_failed_and_stopped_are_final():
    assert {state for state in State if state.final} == {State.FAILED, State.STOPPED}
