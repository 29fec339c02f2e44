"""The manager that CONTRIBUTING.md shows for a new engine: it is run here as it stands there."""

from __future__ import annotations

import re

import pytest
from support.fakes import ROOT

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.client import OpenAIClient
from server_utils.servers import lifecycle

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FAKE = (ROOT / "tests" / "support" / "fake_openai.py").read_bytes()
# The engine: the command `python -m echo serve MODEL --host HOST --port PORT`.
ECHO = b"""
import sys
from fake_openai import Server

assert sys.argv[1] == "serve", sys.argv
Server(int(sys.argv[sys.argv.index("--port") + 1])).serve_forever()
"""


@pytest.fixture
def manager(tmp_path):
    """A manager of that class, which keeps its engine in place of starting it everywhere."""
    (sample,) = re.findall(r"```python\n(.*?class EchoServerManager.*?)```", CONTRIBUTING, re.DOTALL)
    names = {}
    exec(compile(sample, "CONTRIBUTING.md", "exec"), names)  # noqa: S102 - the document is this repository's

    class Prepared(names["EchoServerManager"]):
        def _start_engine(self, engine, *, options, **_):
            self.engine, self.options = engine, options

    return Prepared("m", tmp_path)


def test_the_engine_gets_its_own_options_and_the_manager_those_of_every_engine(manager):
    manager.start_servers(delay_s=1, verbose=False, hang_timeout_s=5, max_restarts=1, stop_grace_s=2)

    assert manager.engine.words[-3:] == ("--delay-s", "1", "--no-verbose")
    assert manager.options == {"hang_timeout_s": 5, "max_restarts": 1, "stop_grace_s": 2}


def test_an_option_that_the_engine_does_not_have_is_refused_with_the_nearest(manager):
    with pytest.raises(ConfigurationError, match="echo has no option 'delay'; did you mean delay_s"):
        manager.start_servers(delay=1)


def test_its_server_starts_gets_ready_and_answers(manager, make_launch, owner):
    manager.start_servers(delay_s=1)
    files = manager.engine.files("m", manager.dialect) | {"echo.py": ECHO, "fake_openai.py": FAKE}
    fields = {name: getattr(make_launch(), name) for name in ("application", "name", "id", "environment")}
    launch = manager.engine.launch(None, model=manager.model_path, files=files, **fields)

    server = lifecycle.ensure(launch, owner, timeout_s=30)

    client = OpenAIClient(lambda: server, timeout_s=30, dialect=manager.dialect)
    reply = client.send("/v1/completions", {"prompt": ["hello"]})
    assert [choice["text"] for choice in reply["choices"]] == ["HELLO"]
    assert set(server.models) == {"m"}
    lifecycle.stop(server.folder)
