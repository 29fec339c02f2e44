"""The command of a server: from a sealed environment, or of the host. Every server is a real process."""

from __future__ import annotations

import os
import sys

import psutil
import pytest
from support.fakes import FAKE_SERVER, ask, folder_of, kill, wait_for_record

from server_utils.errors import ServerStartError
from server_utils.servers import lifecycle
from server_utils.servers.launch import State


def ensure(launch, owner):
    return lifecycle.ensure(launch, owner, timeout_s=30)


@pytest.fixture
def commands(tmp_path):
    """A folder with a command `fake-engine`, an HTTP server; it is not on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "fake-engine"
    command.write_text(f"#!{sys.executable}\n{FAKE_SERVER.read_text()}")
    command.chmod(0o755)
    return folder


@pytest.fixture
def host_launch(make_launch, monkeypatch, tmp_path):
    """Makes launches without an environment, on a host that has none."""
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "empty"))

    def make(*argv, **fields):
        return make_launch(environment=None, argv=(*argv, "--port", "{port:http}"), **fields)

    return make


def test_a_launch_without_an_environment_runs_a_command_of_the_host(host_launch, owner, commands, monkeypatch):
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    server = ensure(host_launch("fake-engine", files={}, env={"PLACE": "{folder}"}), owner)
    assert ask(server, "/process") == server.process.pid
    assert ask(server, "/environ")["PLACE"] == str(folder_of(server))
    kill(server.process)
    again = wait_for_record(folder_of(server), lambda now: now.state is State.READY and now.restarts)
    assert ask(again, "/process") == again.process.pid


def test_a_command_of_the_host_is_looked_up_on_the_path_of_the_launch(host_launch, owner, commands):
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    server = ensure(host_launch("fake-engine", files={}, env={"PATH": path}), owner)
    assert ask(server, "/environ")["PATH"] == path


def test_a_command_that_the_host_does_not_have_is_an_error_that_says_what_to_do(host_launch, owner):
    with pytest.raises(ServerStartError) as caught:
        ensure(host_launch("no-such-engine"), owner)
    assert "cannot be started: this host has no command 'no-such-engine' (PATH is " in str(caught.value)
    assert "Install it on every node" in str(caught.value)


def test_without_an_environment_python_is_that_of_the_supervisor(host_launch, owner):
    server = ensure(host_launch("{python}", "{folder}/program.py"), owner)
    assert psutil.Process(server.process.pid).cmdline()[0] == sys.executable
    assert ask(server, "/process") == server.process.pid
