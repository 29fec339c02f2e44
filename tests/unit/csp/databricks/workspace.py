"""What tests of Databricks share: the volume, a user's session, and how a command is refused."""

from __future__ import annotations

import pytest
from support.databricks_server.accounts import TOKEN, Account
from support.databricks_server.server import profile

from csp import deployer
from csp.databricks.deployer import connect
from server_utils.errors import DeploymentError
from unit.csp.deployments import new_session

VOLUME = "/Volumes/main/default/sidecar"


ROOT = f"{VOLUME}/spark-sidecar/reviews"


CREATE = ("POST", "/api/2.1/clusters/create")


def request_count(server, entry):
    return server.requests.count(entry)


def refusal(call, exit_code):
    with pytest.raises(DeploymentError) as caught:
        call()
    assert caught.value.exit_code == exit_code, caught.value
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def as_user(server, monkeypatch, **given):
    account = server.accounts.add(Account(token="dapi-another-persons-token", **given))
    for name, value in profile(server, account.token).items():
        monkeypatch.setenv(name, value)


def wanted_folder(session, wanted):
    return session.cloud.upload(wanted).folder


def checks_named(session, wanted, name):
    """What the checks of a name say."""
    return [each for each in deployer.check(session, wanted) if each.name == name]


def member(server, monkeypatch, **given):
    """The session of a user who has no entitlement of their own."""
    as_user(server, monkeypatch, name="member@example.com", may_create_clusters=False, **given)
    for privilege, name in (("USE_CATALOG", "main"), ("USE_SCHEMA", "main.default"), ("CREATE_VOLUME", "main.default")):
        server.unity.grant("team", privilege, name)
    return new_session(connect(volume=VOLUME), server.clock)
