"""Calls in the wrong order, twice, or not at all: a clear error or nothing at all."""

from __future__ import annotations

import pytest
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import CLUSTER, answers, ends_session, executors, kill, rows, wait_for_states
from server_utils import ConfigurationError, ServerUnavailableError, TritonServerManager
from server_utils.host.processes import wait_until


def test_starting_twice_with_the_same_changes_nothing_and_another_function_is_refused(spark, manager):
    servers = manager("twice")
    servers.start_servers(tiny_models.whoami)
    before = servers.status()

    servers.start_servers(tiny_models.whoami)

    assert servers.status() == before
    with pytest.raises(ConfigurationError, match=r"call stop_servers\(\) first"):
        servers.start_servers(tiny_models.many)
    with pytest.raises(ConfigurationError, match=r"call stop_servers\(\) first"):
        servers.start_servers(tiny_models.whoami, hang_timeout_s=7)

    assert servers.status() == before
    assert answers(rows(spark, servers.tensors("id"), count=20))


def test_servers_of_which_one_has_failed_for_good_fail_a_job_and_are_started_anew_by_the_same_call(spark, manager):
    servers = manager("fails for good")
    servers.start_servers(tiny_models.whoami, max_restarts=0)
    for server in servers.status():
        kill(server.process)
    before = wait_for_states(servers, "failed", "failed")

    with pytest.raises(Exception, match=r"SIGKILL.*; restarted 0 times in ten minutes already"):
        answers(rows(spark, servers.tensors("id"), partitions=1))
    servers.start_servers(tiny_models.whoami, max_restarts=0)

    assert answers(rows(spark, servers.tensors("id")))
    assert not {server.launch_id for server in servers.status()} & {server.launch_id for server in before}


def test_stopping_before_a_start_or_twice_does_nothing(manager):
    servers = manager("stopped")
    servers.stop_servers()
    servers.start_servers(tiny_models.whoami)
    servers.stop_servers()
    servers.stop_servers()

    servers.start_servers(tiny_models.whoami)

    assert [server.state.value for server in servers.status()] == ["ready", "ready"]


def test_before_a_start_there_is_no_status_and_no_address(manager):
    servers = manager("early")

    assert servers.status() == []
    for name in ("urls", "host_to_http_url", "host_to_grpc_url", "models"):
        with pytest.raises(ServerUnavailableError, match=r"call start_servers\(\) first"):
            getattr(servers, name)
    with pytest.raises(ServerUnavailableError, match=r"call start_servers\(\) first"):
        servers.tensors("id")


def test_an_action_after_the_stop_says_so_and_starts_nothing(spark, state_root, manager):
    with manager("late") as servers:
        servers.start_servers(tiny_models.whoami)
        frame = rows(spark, servers.tensors("id"), count=20, partitions=1)

    with pytest.raises(Exception, match=r"was stopped; run actions before stop_servers\(\)"):
        frame.collect()

    assert not processes_of(state_root)


def test_a_new_manager_of_the_same_name_replaces_or_stops_what_a_restarted_notebook_left(spark, state_root, manager):
    lost, servers = manager("notebook"), manager("notebook")
    lost.start_servers(tiny_models.whoami)
    before = lost.status()

    servers.start_servers(tiny_models.whoami)

    assert not any(server.process.alive() for server in before)
    assert servers.status() == lost.status()
    with pytest.raises(Exception, match="runs for another manager of the same name"):
        rows(spark, lost.tensors("id"), count=20, partitions=1).collect()
    assert answers(rows(spark, servers.tensors("id"), count=20))

    # A third one need not start any to stop them.
    manager("notebook").stop_servers()

    assert not processes_of(state_root)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "f\\(ports\\) or f\\(ports, model_path\\)"),
        (lambda ports, model: None, "'model'"),
        ("whoami", "must be a function"),
        (lambda ports, model_path: None, "has none"),
    ],
)
def test_a_function_of_the_wrong_signature_is_refused_before_any_job(manager, function, words):
    with pytest.raises(ConfigurationError, match=words):
        manager("signature").start_servers(function)


def test_a_function_that_cannot_be_pickled_is_refused_before_any_job(manager):
    import threading

    lock = threading.Lock()

    def holds_a_lock(ports):
        lock.acquire()

    with pytest.raises(ConfigurationError, match=r"cannot be sent to the servers.*lock"):
        manager("unpicklable").start_servers(holds_a_lock)


@ends_session
def test_the_end_of_a_session_stops_servers_that_nobody_stopped_and_their_manager_goes_on_in_the_next(
    sessions, spark, state_root
):
    servers = TritonServerManager("survivor", spark=spark)
    servers.start_servers(tiny_models.whoami)
    assert processes_of(state_root)

    sessions.stop()

    assert wait_until(lambda: not processes_of(state_root), 60), processes_of(state_root)
    assert not executors()
    servers.stop_servers()
    with pytest.raises(ConfigurationError, match="make one first"):
        servers.start_servers(tiny_models.whoami)
    spark = sessions.get(CLUSTER)

    servers.start_servers(tiny_models.whoami)

    assert answers(rows(spark, servers.tensors("id"), count=20))
    servers.stop_servers()
