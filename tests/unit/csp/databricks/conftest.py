"""A workspace on loopback, which executes nothing session, and a session of its user."""

from __future__ import annotations

import json

import pytest
from support.databricks_server.server import DatabricksServer, profile

from csp import run
from csp.cloud import Exit
from csp.databricks.deployer import connect
from unit.csp.databricks.workspace import VOLUME, refusal
from unit.csp.deployments import deployment, new_session


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with DatabricksServer(tmp_path / "server") as running:
        for name, value in profile(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def session(server):
    return new_session(connect(volume=VOLUME), server.clock)


@pytest.fixture
def wanted(tmp_path):
    return deployment(tmp_path, "databricks-aws")


@pytest.fixture
def notebook(tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "source": "print(1)", "outputs": [], "execution_count": None}
    path = tmp_path / "reviews.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def left(server, session, wanted, notebook):
    """The id of a run on a cluster of its own, which the laptop left while it waited."""

    def interrupt(text):
        raise KeyboardInterrupt

    session.report.on_wait = interrupt
    refusal(lambda: run.run(session, "reviews", notebook, own_cluster=wanted), Exit.INTERRUPTED)
    session.report.on_wait = None
    (run_id,) = server.jobs.runs
    (cluster,) = server.clusters.all.values()
    assert cluster.alive
    return str(run_id)
