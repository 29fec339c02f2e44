"""The log of a server comes to a folder that outlives its node, and never holds the server up."""

from __future__ import annotations

from support.fakes import folder_of

from server_utils.host.processes import wait_until
from server_utils.servers import lifecycle
from server_utils.servers.log_delivery import FOLDER, delivered

_WITHIN_S = 30


def started_and_stopped(launch, owner):
    """The folder of a server that ran and was stopped, with its supervisor."""
    server = lifecycle.ensure(launch, owner, timeout_s=_WITHIN_S)
    lifecycle.stop(folder_of(server))
    assert wait_until(lambda: not server.supervisor.alive(), _WITHIN_S)
    return folder_of(server)


def test_the_log_of_a_server_is_delivered_when_it_ends(launch, owner, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", str(tmp_path / "logs"))
    folder = started_and_stopped(launch, owner)
    (copy,) = (tmp_path / "logs" / FOLDER).rglob("*.log")
    assert "listening" in copy.read_text()
    application, name, own = folder.parts[-3:]
    assert copy.parent == tmp_path / "logs" / FOLDER / application / name
    assert copy.stem.endswith(own)


def test_the_end_of_a_log_is_delivered_again_whenever_it_has_grown(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", str(tmp_path / "logs"))
    server = tmp_path / "app" / "name" / "1-2"
    server.mkdir(parents=True)
    copies = tmp_path / "logs" / FOLDER / "app" / "name"
    with delivered(server, period_s=0.05):
        for text in ("first\n", "second\n", "x" * (1 << 20)):
            with (server / "server.log").open("a") as log:
                log.write(text)
            assert wait_until(
                lambda text=text: any(each.read_text().endswith(text) for each in copies.glob("*.log")), 30
            )
    (copy,) = copies.iterdir()
    assert copy.read_text() == "x" * (1 << 20)


def test_a_folder_that_takes_no_log_changes_nothing_for_the_server(launch, owner, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", "/proc/nowhere")
    folder = started_and_stopped(launch, owner)
    assert "the log could not be copied to /proc/nowhere" in (folder / "supervisor.log").read_text()


def test_a_store_that_cannot_be_used_changes_nothing_for_the_server(launch, owner, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", "hf://model/logs")
    folder = started_and_stopped(launch, owner)
    assert "the log could not be copied to hf://model/logs/servers/" in (folder / "supervisor.log").read_text()


def test_the_copy_shows_no_keys_and_none_of_the_secrets_that_the_program_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", str(tmp_path / "logs"))
    server = tmp_path / "app" / "name" / "1-2"
    server.mkdir(parents=True)
    words = b"key nvapi-abcdefgh123, given swordfish and visible, \xe9\n"
    with delivered(server, {"VLLM_API_KEY": "swordfish", "MODE": "visible"}, period_s=60):
        (server / "server.log").write_bytes(words + b"y" * ((1 << 20) - 20) + b"\nnvapi-at-the-end-1234\n")
    (copy,) = (tmp_path / "logs" / FOLDER).rglob("*.log")
    content = copy.read_bytes()
    assert content.endswith(b"y\n***\n")
    (server / "server.log").write_bytes(words)
    with delivered(server, {"VLLM_API_KEY": "swordfish", "MODE": "visible"}, period_s=60):
        pass
    assert copy.read_bytes() == b"key ***, given *** and visible, \xe9\n"


def test_a_log_that_cannot_be_looked_at_ends_no_delivery(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", str(tmp_path / "logs"))
    server = tmp_path / "app" / "name" / ("x" * 300)  # longer than a name may be
    server.parent.mkdir(parents=True)
    with delivered(server, period_s=60):
        pass
    assert "the log could not be copied to" in caplog.text
