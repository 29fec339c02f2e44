"""The free checks of privileges, volume, node types and runtime, by the real SDK."""

from __future__ import annotations

import dataclasses

import pytest
from support.databricks_server.accounts import Group
from support.databricks_server.faults import Fault
from support.databricks_server.server import DatabricksServer, profile

from csp import deployer
from csp.cloud import Exit
from csp.databricks.deployer import connect
from csp.up import up
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from unit.csp.databricks.workspace import CREATE, VOLUME, as_user, checks_named, member, refusal, request_count
from unit.csp.deployments import deployment, new_session


def test_what_a_user_may_not_do_is_found_before_anything_is_made(server, session, wanted, monkeypatch):
    as_user(server, monkeypatch, name="poor@example.com", may_create_clusters=False)
    for privilege, name in (("USE_CATALOG", "main"), ("USE_SCHEMA", "main.default")):
        server.unity.grant("poor@example.com", privilege, name)
    poor = new_session(connect(volume=VOLUME), server.clock)
    message = refusal(lambda: up(poor, wanted), Exit.CHECK_FAILED)
    assert "has no entitlement to it" in message
    grant = "GRANT CREATE VOLUME ON SCHEMA `main`.`default` TO `poor@example.com`"
    assert f"you lack CREATE VOLUME; ask the owner for {grant}" in message
    assert request_count(server, CREATE) == 0


def test_a_volume_that_a_user_may_only_read_is_found_before_anything_is_made(server, session, wanted, monkeypatch):
    session.cloud.make_root(wanted)
    poor = member(server, monkeypatch, groups=(Group("team", may_create_clusters=True),))
    server.unity.grant("team", "READ_VOLUME", "main.default.sidecar")
    message = refusal(lambda: up(poor, wanted), Exit.CHECK_FAILED)
    grant = "GRANT WRITE VOLUME ON VOLUME `main`.`default`.`sidecar` TO `member@example.com`"
    assert f"{VOLUME}: you lack WRITE VOLUME; ask the owner for {grant}" in message


def test_a_catalog_that_a_user_may_not_use_is_named_with_the_privilege(server, wanted, monkeypatch):
    as_user(server, monkeypatch, name="poor@example.com")
    message = refusal(lambda: up(new_session(connect(volume=VOLUME), server.clock), wanted), Exit.CHECK_FAILED)
    assert "User does not have USE CATALOG on Catalog 'main'" in message
    assert "or give another --volume" in message


def test_who_may_create_clusters_and_volumes_by_a_group_may_do_so(server, wanted, monkeypatch):
    session = member(server, monkeypatch, groups=(Group("team", may_create_clusters=True),))
    (creation,) = checks_named(session, wanted, "may create clusters")
    assert (creation.detail, creation.passed) == ("yes, as a member of team", True)
    assert up(session, wanted).is_ready


def test_what_may_not_be_read_is_said_and_not_refused(server, wanted, monkeypatch):
    hidden = Group("team", may_create_clusters=True, readable=False)
    session = member(server, monkeypatch, groups=(hidden,))
    grants = "GET /api/2.1/unity-catalog/effective-permissions/*"
    types = "GET /api/2.1/clusters/list-node-types"
    for route in (grants, types, types):
        server.plan.faults.append(Fault(route, 403, "PERMISSION_DENIED", "User cannot read it", times=9))
    checks = deployer.check(session, wanted)
    unknown = {each.name: each.detail for each in checks if "could not be checked" in each.detail}
    assert set(unknown) == {"may create clusters", "volume", "node type"}
    assert "reading the entitlements of the group team is not allowed" in unknown["may create clusters"]
    assert "reading the grants on main.default is not allowed" in unknown["volume"]
    assert up(session, wanted).is_ready
    notices = [each for each in session.report.messages if each.startswith("Not sure: ")]
    assert {each.removeprefix("Not sure: ").partition(" could")[0] for each in notices} == set(unknown)


def test_the_nodes_of_another_user_need_the_volume_too(server, session, wanted):
    session.cloud.make_root(wanted)
    for_robot = new_session(connect(volume=VOLUME, user="robot"), server.clock)
    (unseen,) = checks_named(for_robot, wanted, "volume for the nodes")
    assert (unseen.passed, unseen.was_checked) == (True, False)
    assert f"no grant on {VOLUME} names robot, and a group may have one" in unseen.detail
    assert unseen.detail.endswith(
        "If the nodes fail, run GRANT READ VOLUME, WRITE VOLUME ON VOLUME `main`.`default`.`sidecar` TO `robot`"
    )
    server.unity.grant("robot", "ALL_PRIVILEGES", "main.default")
    (seen,) = checks_named(for_robot, wanted, "volume for the nodes")
    assert seen.detail == f"robot may use {VOLUME}"


def test_a_quota_that_the_workspace_tells_is_compared(tmp_path, monkeypatch):
    with DatabricksServer(tmp_path / "azure", cloud="azure") as server:
        for name, value in profile(server).items():
            monkeypatch.setenv(name, value)
        session, wanted = (
            new_session(connect(volume=VOLUME), server.clock),
            deployment(tmp_path, "databricks-azure", "t4x1"),
        )
        name = wanted.clusters[0].node.node_type
        server.catalogue.change(name, free_cores=4)
        (short,) = [each for each in deployer.check(session, wanted) if not each.passed]
        assert "cores, and 4 of 350 are free" in short.detail
        assert "ask the cloud for more quota" in short.fix
        server.catalogue.change(name, free_cores=350)
        assert up(session, wanted).is_ready


def test_a_zone_that_is_none_of_the_workspace_is_found_before_anything_is_made(server, session, tmp_path):
    there = cluster("databricks-aws", "a10x1", "vllm", options=Options(zone="eu-west-1a"))
    elsewhere = dataclasses.replace(deployment(tmp_path, "databricks-aws"), clusters=(there,))
    message = refusal(lambda: up(session, elsewhere), Exit.CHECK_FAILED)
    assert "the workspace has no eu-west-1a; give --zone, one of us-west-2a, us-west-2b" in message


def test_a_node_type_that_is_not_offered_is_found_before_anything_is_made(server, session, wanted):
    del server.catalogue.nodes["g5.4xlarge"]
    assert "does not offer g5.4xlarge" in refusal(lambda: up(session, wanted), Exit.CHECK_FAILED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deprecated": True}, "g5.4xlarge is deprecated"),
        ({"statuses": ("NotEnabledOnSubscription",)}, "g5.4xlarge is NotEnabledOnSubscription"),
        ({"statuses": ("NotAvailableInRegion",)}, "g5.4xlarge is NotAvailableInRegion"),
    ],
)
def test_a_node_type_that_cannot_be_had_here_is_found_before_anything_is_made(server, session, wanted, change, message):
    server.catalogue.change("g5.4xlarge", **change)
    assert f"{message}; take another --shape" in refusal(lambda: up(session, wanted), Exit.CHECK_FAILED)
    assert request_count(server, CREATE) == 0


def test_a_runtime_that_is_not_offered_is_found_before_anything_is_made(server, session, wanted):
    del server.catalogue.runtimes[wanted.clusters[0].runtime.name]
    assert "does not offer 17.3.x-gpu-ml-scala2.13; give --runtime" in refusal(
        lambda: up(session, wanted), Exit.CHECK_FAILED
    )
