"""Ports: never the same one twice, also not between processes."""

from __future__ import annotations

import socket
import subprocess

import pytest
from support.fakes import run_python

from server_utils.servers.ports import Lease

HOLD_A_LEASE = """
import sys
from server_utils.servers.ports import Lease
lease = Lease(['a'])
print(lease.ports['a'], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_each_name_gets_a_port_of_its_own_in_the_order_of_the_names():
    lease = Lease(["http", "grpc", "metrics"])
    assert list(lease.ports) == ["http", "grpc", "metrics"]
    assert len(set(lease.ports.values())) == 3
    assert lease.all_free()
    lease.release()


def test_two_leases_share_no_port():
    leases = [Lease(["a", "b", "c"]) for _ in range(50)]
    ports = [port for lease in leases for port in lease.ports.values()]
    assert len(set(ports)) == 150
    for lease in leases:
        lease.release()


def test_a_port_that_another_process_leased_is_not_taken(monkeypatch, tmp_path):
    """Wherever that one keeps its files: another application may have another folder, and another user has."""
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(tmp_path / "elsewhere"))
    other = run_python(HOLD_A_LEASE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    monkeypatch.undo()
    port = int(other.stdout.readline())
    mine = Lease(["a"], preferred={"a": port})
    assert mine.ports["a"] != port
    other.communicate()  # it ends, and with it its lease
    again = Lease(["a"], preferred={"a": port})
    assert again.ports["a"] == port
    again.release()
    mine.release()


def test_a_released_port_is_taken_again_where_it_is_preferred():
    first = Lease(["a", "b"])
    first.release()
    second = Lease(["a", "b"], preferred=first.ports)
    assert second.ports == first.ports
    second.release()


def test_a_preferred_port_that_a_stranger_listens_on_is_left_alone(listener):
    taken = listener.getsockname()[1]
    lease = Lease(["a"], preferred={"a": taken})
    assert lease.ports["a"] != taken
    lease.release()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - a stranger may do so
def test_a_stranger_on_a_leased_port_is_noticed(address):
    lease = Lease(["a"])
    with socket.create_server((address, lease.ports["a"])):
        assert not lease.all_free()
    assert lease.all_free()
    lease.release()


def test_a_connection_that_lingers_does_not_make_a_port_taken():
    lease = Lease(["a"])
    with socket.create_server(("127.0.0.1", lease.ports["a"])) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first is in TIME_WAIT afterwards
        client.close()
    assert lease.all_free()
    lease.release()
