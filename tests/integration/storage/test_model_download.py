"""A server whose model is a URL: fetched before it starts, and what follows when that fails."""

from __future__ import annotations

import socket

import pytest
from support.fakes import ask, folder_of, kill, wait_for_record

from integration.storage.conftest import fresh
from integration.storage.faulty_proxy import Fault
from integration.storage.places import contents, make_model
from server_utils import ServerStartError, save_model
from server_utils.host.processes import wait_until
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State

WITH_MODEL = {"env": {"MODEL": "{model}"}}


@pytest.fixture
def url(seaweedfs, request, monkeypatch, tmp_path):
    place = fresh(seaweedfs, request, monkeypatch)
    saved = save_model(make_model(tmp_path / "m"), f"{place.root}/m")
    place.proxy.plan()
    return saved


def ensure(launch, owner):
    return lifecycle.ensure(launch, owner, timeout_s=60)


def folder_given(server):
    return type(folder_of(server))(ask(server, "/environ")["MODEL"])


def test_a_server_gets_the_folder_of_its_model_on_this_host(make_launch, owner, url, tmp_path):
    server = ensure(make_launch(model=url, **WITH_MODEL), owner)
    assert contents(folder_given(server)) == contents(tmp_path / "m")
    assert "is here: 3 files" in (folder_of(server) / "server.log").read_text()
    lifecycle.stop(folder_of(server))


def test_two_executors_of_a_host_cost_one_read(make_launch, make_owner, url, seaweedfs):
    servers = [ensure(make_launch(model=url, **WITH_MODEL), make_owner()) for _ in range(2)]
    assert folder_given(servers[0]) == folder_given(servers[1])
    assert seaweedfs.proxy.count("GET", "config.json") == 1
    for server in servers:
        lifecycle.stop(folder_of(server))


def test_a_restarted_server_does_not_fetch_again(make_launch, owner, url, seaweedfs):
    server = ensure(make_launch(model=url, **WITH_MODEL), owner)
    kill(server.process)
    wait_for_record(folder_of(server), lambda now: now.state is State.READY and now.restarts == 1)
    assert seaweedfs.proxy.count("GET", "manifest") == 1
    lifecycle.stop(folder_of(server))


def test_a_plain_folder_is_used_in_place(make_launch, owner, tmp_path):
    server = ensure(make_launch(model=str(tmp_path), **WITH_MODEL), owner)
    assert folder_given(server) == tmp_path
    lifecycle.stop(folder_of(server))


def test_a_model_that_is_not_there_is_a_start_error_with_host_and_reason(make_launch, owner, url):
    with pytest.raises(ServerStartError, match=rf"on {socket.gethostname()} .* could not fetch its model: there is no "
                                               r"model at s3://.*did you mean m\?"):  # fmt: skip
        ensure(make_launch(model=f"{url}x"), owner)


def test_a_download_that_takes_too_long_is_a_start_error(make_launch, owner, url, seaweedfs):
    held = Held()
    seaweedfs.proxy.plan(Fault("", path="config", call=held.wait))
    try:
        with pytest.raises(ServerStartError, match=r"could not fetch its model s3://.* within 3 s"):
            ensure(make_launch(model=url, start_timeout_s=3), owner)
    finally:
        held.open = True


@pytest.mark.parametrize("how", ["stopped", "owner killed", "supervisor killed"])
def test_a_download_ends_with_those_who_want_it(make_launch, owner, url, seaweedfs, how):
    held = Held()
    seaweedfs.proxy.plan(Fault("", path="config", call=held.wait))
    folder = lifecycle.ensure_supervisor(make_launch(model=url), owner, timeout_s=30)
    assert wait_until(lambda: held.reached, 30)
    if how == "stopped":
        lifecycle.stop(folder)
    else:
        kill(owner if how == "owner killed" else state_dir.read(folder).supervisor)
    # that no process of it is left is checked by the fixture of all tests
    held.open = True


class Held:
    """Holds a request up until the test is over with it."""

    def __init__(self):
        self.reached = self.open = False

    def wait(self):
        self.reached = True
        wait_until(lambda: self.open, 60)
