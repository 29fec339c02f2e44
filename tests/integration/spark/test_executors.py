"""One server for each executor: two executors on this host, and what their sidecars have and have not in common."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import answers, executors, listening, once, rows, server_pids
from server_utils.host.processes import wait_until
from server_utils.servers import state_dir

_LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_two_executors_of_one_host_have_a_server_each_and_both_are_used(spark, state_root, manager):
    servers = manager("whoami")

    servers.start_servers(tiny_models.whoami)

    first, second = servers.status()
    assert sorted([first.owner.pid, second.owner.pid]) == executors()
    assert len(servers.urls) == 2
    assert strict(servers) == {"1"}
    assert len({*first.ports.values(), *second.ports.values()}) == 6
    assert len(state_dir.folders(spark.sparkContext.applicationId, "whoami")) == 2

    found = answers(rows(spark, servers.tensors("id")))
    assert server_pids(found) == {first.process.pid, second.process.pid}
    assert {answer[2] for answer in found.values()} == {first.ports["http"], second.ports["http"]}

    servers.stop_servers()
    assert wait_until(lambda: not processes_of(state_root), 30), processes_of(state_root)
    assert not listening([*first.ports.values(), *second.ports.values()])
    assert [server.state.value for server in servers.status()] == ["stopped", "stopped"]


@once
def test_servers_listen_on_loopback_whatever_the_users_config_says(manager):
    servers = manager("open")

    servers.start_servers(tiny_models.open_to_the_network)

    for server in servers.status():
        leader = psutil.Process(server.process.pid)
        tree = {leader.pid, *(child.pid for child in leader.children(recursive=True))}
        table = [each for each in psutil.net_connections() if each.pid in tree and not each.raddr]
        assert {each.laddr.port for each in table} >= set(server.ports.values())
        assert {each.laddr.ip for each in table} <= _LOOPBACK


def strict(servers):
    """What Triton says of configs: that it completes none (1), or those of a repository (0).

    It starts a backend once more to complete one, which takes longer than all the rest that it does at a start.
    """
    said = [re.findall(r"strict_model_config +\| (\d)", Path(server.log).read_text()) for server in servers.status()]
    assert all(said)
    return {number for numbers in said for number in numbers}


@once
def test_a_repository_of_the_users_own_has_configs_for_triton_to_complete(manager, tmp_path):
    servers = manager("with repository", str(tmp_path))

    servers.start_servers(tiny_models.with_repository)

    assert strict(servers) == {"0"}


def test_managers_of_different_names_serve_side_by_side_and_any_text_is_a_name(spark, manager):
    name = "café/Qwen 2.5 7B 模型 ../x"
    one, two = manager("one"), manager(name)
    one.start_servers(tiny_models.whoami)
    two.start_servers(tiny_models.whoami)

    both = rows(spark, one.tensors("id")).withColumn("other", two.tensors("id")).collect()

    assert len({server.process.pid for server in one.status() + two.status()}) == 4
    assert {row.answer[1] for row in both} == {server.process.pid for server in one.status()}
    assert {row.other[1] for row in both} == {server.process.pid for server in two.status()}
    assert [server.name for server in two.status()] == [name, name]
    one.stop_servers()
    assert answers(rows(spark, two.tensors("id")))
