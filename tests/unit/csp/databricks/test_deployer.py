"""Deployments on Databricks: the real SDK against a workspace on loopback, which executes nothing here."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.databricks_server.accounts import ME, TOKEN, Account, Group
from support.databricks_server.faults import ClusterFate, Fault, RunFate, fate
from support.databricks_server.server import DatabricksServer, profile

from csp import deployer, run
from csp.cloud import Exit, Phase, RunPhase
from csp.databricks.client import translated
from csp.databricks.deployer import connect
from csp.up import up
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError, DeploymentError, StorageError
from unit.csp.deployments import WHEEL, bundle, deployment, session

VOLUME = "/Volumes/main/default/sidecar"
ROOT = f"{VOLUME}/spark-sidecar/reviews"
CREATE = ("POST", "/api/2.1/clusters/create")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with DatabricksServer(tmp_path / "server") as running:
        for name, value in profile(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def here(server):
    return session(connect(volume=VOLUME), server.clock)


@pytest.fixture
def wanted(tmp_path):
    return deployment(tmp_path, "databricks-aws")


def asked(server, entry):
    return server.asked.count(entry)


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


def test_up_makes_the_cluster_of_the_plan_and_waits_for_every_worker(server, here, wanted):
    state = up(here, wanted)
    assert state.is_ready
    assert (state.ready, state.workers, state.owner, state.root) == (2, 2, ME, ROOT)
    assert any("running, workers 1 of 2" in each for each in here.report.waited)
    (made,) = server.clusters.all.values()
    plan = deployer.plan(here, wanted)
    sent = {name: value for name, value in made.spec.items() if name in plan.request}
    assert sent == plan.request
    assert made.spec["single_user_name"] == ME


def test_a_plan_asks_nothing_of_the_workspace(server, here, wanted):
    deployer.plan(here, wanted)
    assert server.asked == []


def test_the_files_are_sent_once_and_the_checksums_last(server, here, wanted):
    deployer.send(here, wanted)
    folder = wanted_folder(here, wanted)
    written = [path for verb, path in server.asked if verb == "PUT" and "/fs/files" in path]
    assert written[0].endswith(f"{ROOT}/owner/name")
    sent = written[1:]
    assert sent[-1].endswith("/SHA256SUMS")
    assert {each.rpartition("/")[2] for each in sent} == {"SHA256SUMS", WHEEL, "databricks.sh", "spark-sidecar.env"}
    settings = server.volumes.on_disk(f"{folder}/spark-sidecar.env").read_text()
    assert settings.splitlines()[:2] == ["FRAMEWORK=vllm", f"SPARK_SIDECAR_BUNDLE={folder}"]
    assert f'SETTINGS="{folder}/spark-sidecar.env"' in server.volumes.on_disk(f"{folder}/databricks.sh").read_text()
    server.asked.clear()
    deployer.send(here, wanted)
    assert [verb for verb, _ in server.asked if verb == "PUT"] == []


def wanted_folder(here, wanted):
    return here.cloud.upload(wanted).folder


def test_an_upload_that_stopped_in_the_middle_is_completed(server, here, wanted):
    deployer.send(here, wanted)
    server.volumes.on_disk(f"{wanted_folder(here, wanted)}/{WHEEL}").unlink()
    server.asked.clear()
    deployer.send(here, wanted)
    sent = [path.rpartition("/")[2] for verb, path in server.asked if verb == "PUT" and "/fs/files" in path]
    assert sent == [WHEEL, "SHA256SUMS"]


def test_a_second_up_adopts_the_cluster(server, here, wanted):
    first = up(here, wanted)
    assert up(here, wanted).cluster_id == first.cluster_id
    assert asked(server, CREATE) == 1


def test_a_cluster_that_ended_for_lack_of_work_is_started_again(server, here, wanted):
    first = up(here, wanted)
    server.clock.advance(2 * 3600)
    assert deployer.status(here, "reviews")[0].phase in {Phase.STOPPED, Phase.DELETING}
    server.clock.advance(60)
    assert deployer.status(here, "reviews")[0].phase is Phase.STOPPED
    assert up(here, wanted).cluster_id == first.cluster_id


def test_another_cluster_of_that_name_is_replaced_only_where_the_user_says_so(server, here, wanted, tmp_path):
    first = up(here, wanted)
    other = deployment(tmp_path, "databricks-aws", workers=1)
    said = refusal(lambda: up(here, other), Exit.REFUSED)
    assert "the number of workers is 2, not 1" in said
    assert "--replace" in said
    assert up(here, other, replace=True).cluster_id != first.cluster_id
    assert len(deployer.status(here, "reviews")) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(spot=True), "the availability is ON_DEMAND, not SPOT_WITH_FALLBACK"),
        (Options(instance_profile="arn:aws:iam::123456789012:instance-profile/p"), "the instance profile is None"),
    ],
)
def test_a_cluster_of_another_availability_or_profile_is_not_adopted(server, here, wanted, options, said):
    up(here, wanted)
    shape = cluster("databricks-aws", "a10x1", "vllm", workers=2, options=options)
    assert said in refusal(lambda: up(here, dataclasses.replace(wanted, clusters=(shape,))), Exit.REFUSED)
    assert asked(server, CREATE) == 1


def test_a_cluster_of_an_older_version_that_lacks_a_variable_is_adopted(server, here, wanted):
    first = up(here, wanted)
    spec = server.clusters.all[first.cluster_id].spec
    del spec["spark_env_vars"]["SPARK_SIDECAR_DATA"]
    spec["spark_conf"]["spark.task.resource.gpu.amount"] = "0.5"
    assert up(here, wanted).cluster_id == first.cluster_id
    (said,) = (each for each in here.report.said if each.startswith("Adopting"))
    settings = "Spark settings differ (spark.task.resource.gpu.amount); variables differ (SPARK_SIDECAR_DATA)"
    assert f"It stays as it is, although {settings}; --replace makes it anew." in said
    assert asked(server, CREATE) == 1


def test_changed_files_make_another_cluster(here, wanted):
    up(here, wanted)
    bundle(wanted.bundle, "a newer wheel")
    assert "the files that nodes install from have changed" in refusal(lambda: up(here, wanted), Exit.REFUSED)


def test_a_create_whose_answer_was_lost_makes_one_cluster(server, here, wanted):
    server.plan.faults.append(Fault("POST /api/2.1/clusters/create", drop="after"))
    assert up(here, wanted).is_ready
    assert len(deployer.status(here, "reviews")) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_workspace_is_asked_again(server, here, wanted, status):
    codes = {429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}
    fault = Fault("GET /api/2.1/clusters/get", status, codes[status], "the quota of requests is used up", skip=1)
    server.plan.faults.append(fault)
    assert up(here, wanted).is_ready


def test_a_wait_goes_on_when_the_network_is_back(server, here, wanted):
    cuts = {"drop": "before", "skip": 1, "times": 1}
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", **cuts))
    assert up(here, wanted).is_ready


def test_ctrl_c_in_the_wait_says_what_bills_and_how_to_go_on(server, here, wanted):
    def interrupt(text):
        raise KeyboardInterrupt

    here.report.on_wait = interrupt
    said = refusal(lambda: up(here, wanted), Exit.INTERRUPTED)
    (state,) = deployer.status(here, "reviews")
    assert f"({state.cluster_id}, 1 x g5.2xlarge, 2 x g5.4xlarge) is starting and bills" in said
    assert "spark-sidecar databricks down --name reviews" in said
    here.report.on_wait = None
    assert up(here, wanted).cluster_id == state.cluster_id


def test_too_few_workers_are_waited_for_until_the_time_is_up(server, here, wanted):
    server.plan.clusters.append(ClusterFate(workers=1))
    said = refusal(lambda: up(here, wanted, timeout_s=600), Exit.TIMEOUT)
    assert "the cluster is running with 1 of 2 workers" in said
    assert "bills" in said


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("AWS_RESOURCE_QUOTA_EXCEEDED", "Ask the cloud for more"),
        ("BOOTSTRAP_TIMEOUT", "Look at routes, NAT"),
        ("TRIAL_EXPIRED", "paid account"),
        ("GCP_DENIED_BY_ORG_POLICY", "administrator"),
        ("REQUEST_REJECTED", "event log"),
    ],
)
def test_a_cluster_that_ends_is_explained_and_deleted(server, here, wanted, code, fix):
    server.plan.clusters.append(fate(code))
    said = refusal(lambda: up(here, wanted), Exit.REFUSED)
    assert code in said
    assert fix in said
    assert "It is deleted, and nothing bills" in said
    refusal(lambda: deployer.status(here, "reviews"), Exit.NOT_FOUND)


def test_where_there_is_no_capacity_the_next_shape_is_tried(server, here, tmp_path):
    server.plan.clusters.append(fate("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    state = up(here, either)
    assert state.nodes.endswith("2 x g6.4xlarge")
    assert any("Trying choice 2 of 2" in each for each in here.report.said)
    assert up(here, either).cluster_id == state.cluster_id


def test_a_failed_cluster_is_kept_where_the_user_says_so(server, here, wanted):
    server.plan.clusters.append(fate("BOOTSTRAP_TIMEOUT"))
    assert "It is kept" in refusal(lambda: up(here, wanted, keep=True), Exit.REFUSED)
    assert deployer.status(here, "reviews")[0].ours


def test_a_cluster_whose_state_is_unknown_is_waited_for_and_not_deleted(server, here, wanted):
    first = up(here, wanted)
    cluster = server.clusters.all[first.cluster_id]
    cluster.state = "UNKNOWN"

    def recover(text):
        cluster.state = "RUNNING"

    here.report.on_wait = recover
    assert up(here, wanted).cluster_id == first.cluster_id


def test_a_cluster_ends_before_it_is_forgotten(server, here, wanted):
    up(here, wanted)
    (cluster,) = server.clusters.all.values()
    deployer.down(here, "reviews")
    assert [each["type"] for each in cluster.events][-1] == "TERMINATING"
    assert cluster.state == "TERMINATED"
    assert server.clusters.all == {}


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ("A new token could not be retrieved because the refresh token is invalid", (1, "databricks auth login")),
        ("dial tcp: lookup workspace.example: no such host", (6, "no such host; tried for")),
    ],
)
def test_without_a_token_in_a_wait_the_message_says_why_and_what_bills(here, wanted, said, end):
    code, expected = end

    def lose(text):
        def no_headers():
            raise OSError(f"cannot get access token: Error: {said}")

        here.cloud._client.config._header_factory = no_headers

    here.report.on_wait = lose
    message = refusal(lambda: up(here, wanted, timeout_s=600), code)
    assert expected in message
    assert "is starting and bills" in message


def test_without_a_token_files_are_not_refused_by_a_traceback(server, here, wanted):
    def no_headers():
        raise OSError("cannot get access token: Error: the token has expired, to reauthenticate run x")

    here.cloud._client.config._header_factory = no_headers
    with pytest.raises(StorageError, match="the sign-in has ended"):
        here.cloud.store(ROOT).read("a")


def test_no_text_of_the_cloud_shows_a_token(server, here, wanted, notebook):
    ends = ClusterFate("REQUEST_REJECTED", parameters={"databricks_error_message": f"bad {TOKEN}"}, message=TOKEN)
    server.plan.clusters.append(ends)
    refusal(lambda: up(here, wanted), Exit.REFUSED)  # looks for the token
    state = up(here, wanted)
    log = server.volumes.on_disk(f"{ROOT}/logs/{state.cluster_id}/driver/stderr")
    log.parent.mkdir(parents=True)
    log.write_text(f"signed in with {TOKEN}")
    assert [each.text for each in deployer.logs(here, "reviews", ["driver"])] == ["signed in with ***"]
    server.plan.runs.append(RunFate("TERMINATED", "FAILED", "no", error=f"no {TOKEN}", error_trace="Trace"))
    assert run.run(here, "reviews", notebook).state.error.startswith("no ***")


def test_a_failure_whose_events_may_not_be_read_is_still_deleted(server, here, wanted):
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    server.plan.faults.append(Fault("POST /api/2.1/clusters/events", 403, "PERMISSION_DENIED", "no", times=9))
    said = refusal(lambda: up(here, wanted), Exit.REFUSED)
    assert "Its cause could not be read: reading the events is not allowed: no" in said
    assert "It is deleted, and nothing bills" in said
    refusal(lambda: deployer.status(here, "reviews"), Exit.NOT_FOUND)


def test_a_failure_whose_log_may_not_be_read_is_still_deleted(server, here, wanted):
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    logs = Fault("GET /api/2.0/fs/directories/*/logs", 403, "PERMISSION_DENIED", "no READ VOLUME", times=9)
    server.plan.faults.append(logs)
    said = refusal(lambda: up(here, wanted), Exit.REFUSED)
    assert "the init script ended with an error" in said
    assert "It is deleted, and nothing bills" in said
    assert server.clusters.all == {}


def test_a_start_whose_answer_was_lost_is_not_repeated(server, here, wanted):
    first = up(here, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(here, "reviews")
    server.clock.advance(60)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/start", drop="after"))
    assert up(here, wanted).cluster_id == first.cluster_id
    assert asked(server, ("POST", "/api/2.1/clusters/start")) == 1


def test_the_lines_to_copy_name_the_place(server, monkeypatch, tmp_path):
    (tmp_path / ".databrickscfg").write_text(f"[a b]\nhost = {server.host}\ntoken = {TOKEN}\n")
    there = session(connect(profile="a b", volume=VOLUME), server.clock)
    line = f"spark-sidecar databricks down --name reviews --profile 'a b' --volume {VOLUME}"
    assert there.line("down", "reviews") == line


def test_a_missing_init_script_is_named(server, here, wanted):
    up(here, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(here, "reviews")
    server.clock.advance(60)
    (state,) = deployer.status(here, "reviews")
    server.volumes.on_disk(f"{wanted_folder(here, wanted)}/databricks.sh").unlink()
    here.cloud.start(state)
    server.clock.advance(60)
    here.cloud.state(state.cluster_id)
    server.clock.advance(60)
    failure = here.cloud.failure(here.cloud.state(state.cluster_id))
    assert failure.code == "INIT_SCRIPT_FAILURE"
    assert "databricks.sh does not exist" in failure.log


def test_another_persons_deployment_is_left_alone(server, here, wanted, monkeypatch):
    up(here, wanted)
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    other = session(connect(volume=VOLUME), server.clock)
    said = refusal(lambda: up(other, wanted), Exit.TAKEN)
    assert f"is a deployment of {ME}, and you are other@example.com" in said
    refusal(lambda: deployer.down(other, "reviews"), Exit.TAKEN)
    assert deployer.status(other, "reviews")[0].owner == ME


def test_what_is_made_for_another_person_is_run_and_removed_by_who_made_it(server, wanted, notebook):
    acting = session(connect(volume=VOLUME, owner="ann@example.com"), server.clock, owner="ann@example.com")
    assert up(acting, wanted).owner == ME
    assert up(acting, wanted).is_ready
    assert run.run(acting, "reviews", notebook).exit_code is Exit.DONE
    assert f"/Users/{ME}/spark-sidecar/reviews" in deployer.down(acting, "reviews")
    assert server.clusters.all == {}


def test_another_persons_files_are_left_alone_where_there_is_no_cluster(server, here, wanted, monkeypatch):
    up(here, wanted)
    here.cloud._client.files.create_directory(f"{ROOT}/models/m")
    deployer.down(here, "reviews")
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    other = session(connect(volume=VOLUME), server.clock)
    for change in (lambda: deployer.down(other, "reviews", models=True), lambda: up(other, wanted)):
        assert f"is a deployment of {ME}, and you are other@example.com" in refusal(change, Exit.TAKEN)
    assert asked(server, CREATE) == 1
    assert server.volumes.on_disk(f"{ROOT}/models/m").is_dir()
    acting = session(connect(volume=VOLUME), server.clock, owner=ME)
    assert deployer.down(acting, "reviews", models=True) == [f"{ROOT}/models"]
    assert up(other, wanted).owner == "other@example.com"  # nothing is left, so the name is free


def test_a_cluster_of_that_name_without_our_tag_is_no_deployment(server, here, wanted):
    here.cloud._client.clusters.create(
        spark_version="17.3.x-gpu-ml-scala2.13", cluster_name="reviews", node_type_id="g5.4xlarge", num_workers=1
    )
    assert "no deployment of ours" in refusal(lambda: up(here, wanted), Exit.TAKEN)
    assert deployer.down(here, "reviews") == []
    assert not deployer.status(here, "reviews")[0].ours


def test_down_deletes_the_deployment_and_only_that_and_keeps_models(server, here, wanted, tmp_path):
    up(here, wanted)
    up(here, deployment(tmp_path, "databricks-aws", name="other"))
    here.cloud._client.files.create_directory(f"{ROOT}/models/m")
    deleted = deployer.down(here, "reviews")
    assert any(each.startswith("cluster reviews") for each in deleted)
    assert [each.name for each in deployer.status(here, "other")] == ["other"]
    assert here.cloud.store(ROOT).folders() == ["models", "owner"]
    assert here.cloud.store(f"{VOLUME}/spark-sidecar/other").folders() != []
    assert deployer.down(here, "reviews") == []
    assert deployer.down(here, "reviews", models=True) == [f"{ROOT}/models"]


def test_status_and_down_need_the_name_alone(server, here, wanted):
    first = up(here, wanted)
    elsewhere = session(connect(), server.clock)
    assert deployer.status(elsewhere, "reviews")[0].cluster_id == first.cluster_id
    assert any(each.startswith(ROOT) for each in deployer.down(elsewhere, "reviews"))


def test_what_a_user_may_not_do_is_found_before_anything_is_made(server, here, wanted, monkeypatch):
    as_user(server, monkeypatch, name="poor@example.com", may_create_clusters=False)
    for privilege, name in (("USE_CATALOG", "main"), ("USE_SCHEMA", "main.default")):
        server.unity.grant("poor@example.com", privilege, name)
    poor = session(connect(volume=VOLUME), server.clock)
    said = refusal(lambda: up(poor, wanted), Exit.CHECK_FAILED)
    assert "has no entitlement to it" in said
    grant = "GRANT CREATE VOLUME ON SCHEMA `main`.`default` TO `poor@example.com`"
    assert f"you lack CREATE VOLUME; ask the owner for {grant}" in said
    assert asked(server, CREATE) == 0


def test_a_volume_that_a_user_may_only_read_is_found_before_anything_is_made(server, here, wanted, monkeypatch):
    here.cloud.make_root(wanted)
    poor = member(server, monkeypatch, groups=(Group("team", may_create_clusters=True),))
    server.unity.grant("team", "READ_VOLUME", "main.default.sidecar")
    said = refusal(lambda: up(poor, wanted), Exit.CHECK_FAILED)
    grant = "GRANT WRITE VOLUME ON VOLUME `main`.`default`.`sidecar` TO `member@example.com`"
    assert f"{VOLUME}: you lack WRITE VOLUME; ask the owner for {grant}" in said


def test_a_catalog_that_a_user_may_not_use_is_named_with_the_privilege(server, wanted, monkeypatch):
    as_user(server, monkeypatch, name="poor@example.com")
    said = refusal(lambda: up(session(connect(volume=VOLUME), server.clock), wanted), Exit.CHECK_FAILED)
    assert "User does not have USE CATALOG on Catalog 'main'" in said
    assert "or give another --volume" in said


def found(here, wanted, name):
    """What the checks of a name say."""
    return [each for each in deployer.check(here, wanted) if each.name == name]


def member(server, monkeypatch, **given):
    """The session of a user who has no entitlement of their own."""
    as_user(server, monkeypatch, name="member@example.com", may_create_clusters=False, **given)
    for privilege, name in (("USE_CATALOG", "main"), ("USE_SCHEMA", "main.default"), ("CREATE_VOLUME", "main.default")):
        server.unity.grant("team", privilege, name)
    return session(connect(volume=VOLUME), server.clock)


def test_who_may_create_clusters_and_volumes_by_a_group_may_do_so(server, wanted, monkeypatch):
    here = member(server, monkeypatch, groups=(Group("team", may_create_clusters=True),))
    (creation,) = found(here, wanted, "may create clusters")
    assert (creation.detail, creation.passed) == ("yes, as a member of team", True)
    assert up(here, wanted).is_ready


def test_what_may_not_be_read_is_said_and_not_refused(server, wanted, monkeypatch):
    hidden = Group("team", may_create_clusters=True, readable=False)
    here = member(server, monkeypatch, groups=(hidden,))
    grants = "GET /api/2.1/unity-catalog/effective-permissions/*"
    types = "GET /api/2.1/clusters/list-node-types"
    for route in (grants, types, types):
        server.plan.faults.append(Fault(route, 403, "PERMISSION_DENIED", "User cannot read it", times=9))
    checks = deployer.check(here, wanted)
    unknown = {each.name: each.detail for each in checks if "could not be checked" in each.detail}
    assert set(unknown) == {"may create clusters", "volume", "node type"}
    assert "reading the entitlements of the group team is not allowed" in unknown["may create clusters"]
    assert "reading the grants on main.default is not allowed" in unknown["volume"]
    assert up(here, wanted).is_ready
    notices = [each for each in here.report.said if each.startswith("Not sure: ")]
    assert {each.removeprefix("Not sure: ").partition(" could")[0] for each in notices} == set(unknown)


def test_a_policy_that_may_not_be_read_is_said_and_not_refused(server, wanted):
    server.plan.faults.append(Fault("GET /api/2.0/policies/clusters/get", 403, "PERMISSION_DENIED", "no"))
    with_policy = session(connect(volume=VOLUME, policy="p"), server.clock)
    (check,) = found(with_policy, wanted, "policy")
    assert check.passed
    assert "could not be checked: reading the policy is not allowed" in check.detail


def test_the_nodes_of_another_user_need_the_volume_too(server, here, wanted):
    here.cloud.make_root(wanted)
    for_robot = session(connect(volume=VOLUME, user="robot"), server.clock)
    (unseen,) = found(for_robot, wanted, "volume for the nodes")
    assert (unseen.passed, unseen.was_checked) == (True, False)
    assert f"no grant on {VOLUME} names robot, and a group may have one" in unseen.detail
    assert unseen.detail.endswith(
        "If the nodes fail, run GRANT READ VOLUME, WRITE VOLUME ON VOLUME `main`.`default`.`sidecar` TO `robot`"
    )
    server.unity.grant("robot", "ALL_PRIVILEGES", "main.default")
    (seen,) = found(for_robot, wanted, "volume for the nodes")
    assert seen.detail == f"robot may use {VOLUME}"


def test_a_quota_that_the_workspace_tells_is_compared(tmp_path, monkeypatch):
    with DatabricksServer(tmp_path / "azure", cloud="azure") as server:
        for name, value in profile(server).items():
            monkeypatch.setenv(name, value)
        here, wanted = session(connect(volume=VOLUME), server.clock), deployment(tmp_path, "databricks-azure", "t4x1")
        name = wanted.clusters[0].node.node_type
        server.catalogue.change(name, free_cores=4)
        (short,) = [each for each in deployer.check(here, wanted) if not each.passed]
        assert "cores, and 4 of 350 are free" in short.detail
        assert "ask the cloud for more quota" in short.fix
        server.catalogue.change(name, free_cores=350)
        assert up(here, wanted).is_ready


def test_a_zone_that_is_none_of_the_workspace_is_found_before_anything_is_made(server, here, tmp_path):
    there = cluster("databricks-aws", "a10x1", "vllm", options=Options(zone="eu-west-1a"))
    elsewhere = dataclasses.replace(deployment(tmp_path, "databricks-aws"), clusters=(there,))
    said = refusal(lambda: up(here, elsewhere), Exit.CHECK_FAILED)
    assert "the workspace has no eu-west-1a; give --zone, one of us-west-2a, us-west-2b" in said


def test_a_node_type_that_is_not_offered_is_found_before_anything_is_made(server, here, wanted):
    del server.catalogue.nodes["g5.4xlarge"]
    assert "does not offer g5.4xlarge" in refusal(lambda: up(here, wanted), Exit.CHECK_FAILED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deprecated": True}, "g5.4xlarge is deprecated"),
        ({"statuses": ("NotEnabledOnSubscription",)}, "g5.4xlarge is NotEnabledOnSubscription"),
        ({"statuses": ("NotAvailableInRegion",)}, "g5.4xlarge is NotAvailableInRegion"),
    ],
)
def test_a_node_type_that_cannot_be_had_here_is_found_before_anything_is_made(server, here, wanted, change, said):
    server.catalogue.change("g5.4xlarge", **change)
    assert f"{said}; take another --shape" in refusal(lambda: up(here, wanted), Exit.CHECK_FAILED)
    assert asked(server, CREATE) == 0


def test_a_runtime_that_is_not_offered_is_found_before_anything_is_made(server, here, wanted):
    del server.catalogue.runtimes[wanted.clusters[0].runtime.name]
    assert "does not offer 17.3.x-gpu-ml-scala2.13; give --runtime" in refusal(
        lambda: up(here, wanted), Exit.CHECK_FAILED
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((403, "PERMISSION_DENIED", "Not authorized"), "It needs the entitlement 'unrestricted cluster creation'"),
        ((403, "PERMISSION_DENIED", "User lacks CREATE CLUSTER"), "is not allowed: User lacks CREATE CLUSTER"),
        ((400, "INVALID_PARAMETER_VALUE", "The custom tag x is invalid"), "is refused: The custom tag x is invalid"),
        ((400, "QUOTA_EXCEEDED", "The quota of clusters is exceeded"), "a quota is used up"),
        ((409, "RESOURCE_CONFLICT", "The workspace is being changed"), "conflicts with what is there"),
        ((404, "FEATURE_DISABLED", "Classic compute is disabled"), "Classic compute is disabled"),
    ],
)
def test_a_create_that_is_refused_is_one_sentence_and_is_not_repeated(server, here, wanted, fault, said):
    status, code, message = fault
    server.plan.faults.append(Fault("POST /api/2.1/clusters/create", status, code, message, times=9))
    with pytest.raises(DeploymentError) as caught:
        up(here, wanted)
    assert said in str(caught.value)
    assert asked(server, CREATE) == 1


def test_a_workspace_that_says_how_long_to_wait_is_asked_after_that(server, here, wanted):
    fault = Fault("POST /api/2.1/clusters/create", 429, "REQUEST_LIMIT_EXCEEDED", "too many", retry_after_s=1)
    server.plan.faults.append(fault)
    assert up(here, wanted).is_ready


@pytest.mark.parametrize(("cloud", "shape"), [("azure", "t4x1"), ("gcp", "l4x1")])
def test_each_cloud_takes_the_definition(tmp_path, monkeypatch, cloud, shape):
    with DatabricksServer(tmp_path / cloud, cloud=cloud) as server:
        for name, value in profile(server).items():
            monkeypatch.setenv(name, value)
        here = session(connect(volume=VOLUME), server.clock)
        assert here.cloud.cloud_name() == cloud
        assert up(here, deployment(tmp_path, f"databricks-{cloud}", shape)).is_ready
        assert deployer.down(here, "reviews")


@pytest.fixture
def under_policy(server, here):
    """Makes a policy of rules, and the session of its user: under_policy({path: rule})."""

    def make(rules):
        made = here.cloud._client.cluster_policies.create(name="GPUs", definition=json.dumps(rules))
        return session(connect(volume=VOLUME, policy=made.policy_id), server.clock)

    return make


def test_a_cluster_that_its_policy_allows_is_made(under_policy, wanted):
    rules = {
        "node_type_id": {"type": "allowlist", "values": ["g5.4xlarge", "g6.4xlarge"]},
        "num_workers": {"type": "range", "maxValue": 4},
        "spark_env_vars.FRAMEWORK": {"type": "regex", "pattern": "vllm|triton"},
        "autotermination_minutes": {"type": "fixed", "value": 60},
        "custom_tags.team": {"type": "fixed", "value": "a"},
        "instance_pool_id": {"type": "forbidden"},
        "runtime_engine": {"type": "blocklist", "values": ["PHOTON"]},
        "cluster_type": {"type": "fixed", "value": "all-purpose"},
    }
    assert up(under_policy(rules), wanted).is_ready


@pytest.mark.parametrize(
    ("path", "rule", "said"),
    [
        ("node_type_id", {"type": "allowlist", "values": ["g4dn.xlarge"]}, "g5.4xlarge, and allowed are g4dn.xlarge"),
        ("num_workers", {"type": "range", "maxValue": 1}, "num_workers is 2, and it must be from any to 1"),
        ("data_security_mode", {"type": "fixed", "value": "USER_ISOLATION"}, "it is fixed to USER_ISOLATION"),
        ("spark_env_vars.FRAMEWORK", {"type": "regex", "pattern": "triton"}, "vllm, and it must match triton"),
        ("runtime_engine", {"type": "blocklist", "values": ["STANDARD"]}, "STANDARD, and this is blocked"),
        ("init_scripts", {"type": "forbidden"}, "it must be left out"),
    ],
)
def test_what_a_policy_does_not_allow_is_found_before_anything_is_made(under_policy, wanted, path, rule, said):
    message = refusal(lambda: up(under_policy({path: rule}), wanted), Exit.CHECK_FAILED)
    assert f"does not allow it: {path} is" in message
    assert said in message
    assert "give the options that it allows, or another --policy" in message


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("spark_version", {"type": "range", "maxValue": 4}),
        ("spark_env_vars.FRAMEWORK", {"type": "regex", "pattern": "(?<name>vllm)"}),
        ("num_workers", {"type": "range", "maxValue": "many"}),
    ],
)
def test_a_rule_of_a_policy_that_cannot_be_compared_is_said_and_not_refused(under_policy, wanted, path, rule):
    (checked,) = (each for each in deployer.check(under_policy({path: rule}), wanted) if each.name == "policy")
    assert checked.passed
    assert checked.detail.endswith(f"; {path} could not be compared")


def test_a_policy_that_is_not_there_is_found_before_anything_is_made(server, wanted):
    with_policy = session(connect(volume=VOLUME, policy="none"), server.clock)
    assert "there is no policy none" in refusal(lambda: up(with_policy, wanted), Exit.CHECK_FAILED)


def test_a_notebook_in_source_format_is_a_notebook(server, here, wanted, tmp_path):
    up(here, wanted)
    source = tmp_path / "score.py"
    source.write_text("# Databricks notebook source\nprint(1)\n")
    assert run.run(here, "reviews", source).exit_code is Exit.DONE
    task = next(iter(server.jobs.runs.values())).tasks[0].given["notebook_task"]
    assert task["notebook_path"].startswith(f"/Users/{ME}/spark-sidecar/reviews/score-")


def test_a_notebook_is_sent_without_its_outputs_and_refused_where_it_is_too_large(here, wanted, notebook):
    up(here, wanted)
    content = json.loads(notebook.read_text())
    content["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 11_000_000}]
    notebook.write_text(json.dumps(content))
    assert run.run(here, "reviews", notebook).exit_code is Exit.DONE
    content["cells"][0]["source"] = "x" * 11_000_000
    notebook.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="the workspace takes 10 MB"):
        run.run(here, "reviews", notebook)


def test_a_wrong_token_is_one_sentence(server, wanted, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-a-wrong-token")
    said = refusal(lambda: up(session(connect(volume=VOLUME), server.clock), wanted), Exit.REFUSED)
    assert "databricks auth login" in said
    assert "dapi-a-wrong-token" not in said


def test_no_credentials_are_one_sentence(server, monkeypatch, tmp_path):
    for name in profile(server):
        monkeypatch.delenv(name)
    said = refusal(lambda: deployer.status(session(connect(), server.clock), "reviews"), Exit.REFUSED)
    assert "databricks auth login" in said


@pytest.mark.parametrize("volume", ["main.default.files", "/Volumes/main/default", "/Volumes/main/default/files/more"])
def test_a_volume_has_a_catalog_a_schema_and_a_name(volume):
    with pytest.raises(ConfigurationError, match="/Volumes/CATALOG/SCHEMA/NAME"):
        connect(volume=volume)


@pytest.fixture
def notebook(tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "source": "print(1)", "outputs": [], "execution_count": None}
    path = tmp_path / "reviews.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_a_run_brings_the_executed_notebook_and_its_results(server, here, wanted, notebook, tmp_path):
    up(here, wanted)
    written = []

    def write(text):
        if not written:
            task = next(iter(server.jobs.runs.values())).tasks[0].given["notebook_task"]
            server.volumes.on_disk(task["base_parameters"]["results"]).mkdir(parents=True)
            written.append(server.volumes.on_disk(f"{task['base_parameters']['results']}/rows.csv"))
            written[0].write_text("a,b\n")

    here.report.on_wait = write
    result = run.run(here, "reviews", notebook, parameters={"rows": "3"}, out=tmp_path / "out")
    assert result.exit_code is Exit.DONE
    assert {each.suffix for each in result.files} == {".html", ".ipynb", ".csv"}
    (executed,) = (tmp_path / "out").glob("*.ipynb")
    assert [each["source"] for each in json.loads(executed.read_text())["cells"]] == ["print(1)"]
    assert (tmp_path / "out" / "rows.csv").read_text() == "a,b\n"
    assert run.follow(here, result.state.run_id, name="reviews", out=tmp_path / "again").files


def test_a_python_file_gets_its_parameters_as_options(server, here, wanted, tmp_path):
    up(here, wanted)
    program = tmp_path / "score.py"
    program.write_text("print(1)\n")
    assert run.run(here, "reviews", program, parameters={"rows": "3"}).exit_code is Exit.DONE
    task = next(iter(server.jobs.runs.values())).tasks[0].given["spark_python_task"]
    assert task["parameters"][0] == "--rows=3"
    assert task["parameters"][1].startswith(f"--results={ROOT}/runs/")


def test_a_run_on_a_cluster_of_its_own_needs_no_deployment(server, here, wanted, notebook):
    assert run.run(here, "reviews", notebook, own_cluster=wanted).exit_code is Exit.DONE
    spec = next(iter(server.jobs.runs.values())).tasks[0].given["new_cluster"]
    assert spec["custom_tags"]["spark-sidecar-deployment"] == "reviews"
    assert "cluster_name" not in spec
    refusal(lambda: deployer.status(here, "reviews"), Exit.NOT_FOUND)


def test_a_run_whose_own_cluster_cannot_be_had_is_tried_on_the_next_shape(server, here, notebook, tmp_path):
    server.plan.clusters.append(fate("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    result = run.run(here, "reviews", notebook, own_cluster=either, out=tmp_path / "out")
    assert result.exit_code is Exit.DONE
    shapes = [each.tasks[0].given["new_cluster"]["node_type_id"] for each in server.jobs.runs.values()]
    assert shapes == ["g5.4xlarge", "g6.4xlarge"]
    (said,) = [each for each in here.report.said if "Trying choice 2 of 2" in each]
    assert "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE" in said
    assert "the cloud has no such node in this zone now" in said


def test_a_run_whose_own_cluster_lacks_quota_says_what_to_do(server, here, notebook, tmp_path):
    server.plan.clusters.append(fate("AWS_RESOURCE_QUOTA_EXCEEDED"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    result = run.run(here, "reviews", notebook, own_cluster=either)
    assert result.exit_code is Exit.RUN_FAILED
    assert "the GPU quota of your cloud account is used up. Ask the cloud for more" in result.state.detail
    assert len(server.jobs.runs) == 1


@pytest.mark.parametrize(
    "expected",
    [
        (RunFate("TERMINATED", "FAILED", "no", error="ValueError: no", error_trace="Trace"), RunPhase.FAILED, 3),
        (RunFate("SKIPPED", None, "already running"), RunPhase.SKIPPED, 4),
        (RunFate("TERMINATED", "TIMEDOUT", "late"), RunPhase.TIMED_OUT, 4),
        (RunFate("TERMINATED", "CANCELED", "stop"), RunPhase.CANCELLED, 4),
        (RunFate("INTERNAL_ERROR", "TIMEDOUT", "late too"), RunPhase.TIMED_OUT, 4),
        (RunFate("INTERNAL_ERROR", None, "no answer"), RunPhase.FAILED, 3),
        (RunFate("TERMINATED", "MAXIMUM_CONCURRENT_RUNS_REACHED", "full"), RunPhase.SKIPPED, 4),
    ],
    ids=lambda expected: expected[0].message,
)
def test_a_run_that_did_not_succeed_ends_the_command_with_its_own_code(server, here, wanted, notebook, expected):
    end, phase, code = expected
    up(here, wanted)
    server.plan.runs.append(end)
    result = run.run(here, "reviews", notebook)
    assert (result.state.phase, result.exit_code) == (phase, code)
    assert end.message in result.state.detail
    assert (end.error or "") in result.state.error


def test_a_submit_whose_answer_was_lost_is_one_run(server, here, wanted, notebook):
    up(here, wanted)
    server.plan.faults.append(Fault("POST /api/2.2/jobs/runs/submit", drop="after"))
    assert run.run(here, "reviews", notebook).exit_code is Exit.DONE
    assert len(server.jobs.runs) == 1


def test_ctrl_c_in_a_run_says_how_to_go_on(server, here, wanted, notebook):
    up(here, wanted)

    def interrupt(text):
        raise KeyboardInterrupt

    here.report.on_wait = interrupt
    said = refusal(lambda: run.run(here, "reviews", notebook), Exit.INTERRUPTED)
    (run_id,) = server.jobs.runs
    assert f"--resume {run_id}" in said
    assert f"--cancel {run_id}" in said


@pytest.fixture
def left(server, here, wanted, notebook):
    """The id of a run on a cluster of its own, which the laptop left while it waited."""

    def interrupt(text):
        raise KeyboardInterrupt

    here.report.on_wait = interrupt
    refusal(lambda: run.run(here, "reviews", notebook, own_cluster=wanted), Exit.INTERRUPTED)
    here.report.on_wait = None
    (run_id,) = server.jobs.runs
    (cluster,) = server.clusters.all.values()
    assert cluster.alive
    return str(run_id)


def test_a_run_that_was_left_is_cancelled_with_its_own_cluster(server, here, left):
    assert here.cancel(left).phase is RunPhase.CANCELLED
    assert not any(each.alive for each in server.clusters.all.values())
    assert here.cancel(left).phase is RunPhase.CANCELLED
    assert "there is no run 17" in refusal(lambda: here.cancel("17"), Exit.NOT_FOUND)


@pytest.mark.parametrize("verb", ["cancel", "run_state"])
def test_what_is_no_id_of_a_run_is_said_and_not_taken_for_a_sign_in(here, verb):
    with pytest.raises(ConfigurationError, match="'workflow-1' is no id of a run: these are whole numbers"):
        getattr(here.cloud, verb)("workflow-1")
    with pytest.raises(ConfigurationError, match="as it is"), translated("doing it"):
        raise ConfigurationError("as it is")


def test_status_and_down_know_a_run_on_a_cluster_of_its_own(server, here, left):
    said = refusal(lambda: deployer.status(here, "reviews"), Exit.NOT_FOUND)
    assert f"run {left} goes on, on a cluster of its own that bills" in said
    assert here.cloud.active_runs("review") == []
    deleted = deployer.down(here, "reviews")
    assert f"Cancelling run {left}." in here.report.said
    assert any(each.startswith(f"{ROOT}/files-") for each in deleted)
    assert not any(each.alive for each in server.clusters.all.values())
    assert here.cloud.active_runs("reviews") == []


def test_down_for_another_person_ends_that_persons_runs_and_notebooks(server, here, left, monkeypatch):
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    acting = session(connect(volume=VOLUME, owner=ME), server.clock, owner=ME)
    assert f"/Users/{ME}/spark-sidecar/reviews" in deployer.down(acting, "reviews")
    assert acting.cancel(left).phase is RunPhase.CANCELLED


def test_down_for_another_person_ends_the_runs_of_who_is_signed_in_too(server, left):
    acting = session(connect(volume=VOLUME, owner="ann@example.com"), server.clock, owner="ann@example.com")
    deployer.down(acting, "reviews")
    assert f"Cancelling run {left}." in acting.report.said


def test_a_run_without_a_cluster_says_what_to_do(here, notebook):
    said = refusal(lambda: run.run(here, "reviews", notebook), Exit.NOT_FOUND)
    assert "spark-sidecar databricks up --name reviews" in said


def test_logs_are_those_of_the_volume(server, here, wanted):
    state = up(here, wanted)
    logs = server.volumes.on_disk(f"{ROOT}/logs")
    for name in (f"{state.cluster_id}/driver/stdout", "host-1/init.log", "servers/app-1/init/host-1.log"):
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text("one\ntwo\n")
    shown = deployer.logs(here, "reviews", ["driver", "init", "executor", "server"])
    assert [(each.kind, each.text) for each in shown] == [
        ("driver", "one\ntwo"),
        ("init", "one\ntwo"),
        ("server", "one\ntwo"),
    ]
    for route in ("POST /api/2.0/fs/create-download-url", "GET /api/2.0/fs/files/*/stdout"):
        server.plan.faults.append(Fault(route, 404, "NOT_FOUND", "It was deleted"))
    assert [each.kind for each in deployer.logs(here, "reviews", ["driver", "init"])] == ["init"]
    assert server.plan.not_met() == []


def test_the_log_of_the_node_that_failed_explains_it_whatever_other_nodes_and_clusters_wrote(server, here, wanted):
    def write(text):
        (cluster_id,) = server.clusters.all
        names = {f"{cluster_id}-10-0-0-{number}/init.log": "ready\n" for number in range(3, 13)}
        names |= {f"{cluster_id}-10-0-0-2/init.log": "error: spark-sidecar: no space left\n"}
        names |= {"9999-000001-abc-10-0-0-99/init.log": "error: spark-sidecar: of an older cluster\n"}
        for name, content in names.items():
            path = server.volumes.on_disk(f"{ROOT}/logs") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    here.report.on_wait = write
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    said = refusal(lambda: up(here, wanted, keep=True), Exit.REFUSED)
    assert said.endswith("The init script's log ends:\nerror: spark-sidecar: no space left")
    shown = [each.name.rpartition("-")[2] for each in deployer.logs(here, "reviews", ["init"])]
    assert shown == [f"{number}/init.log" for number in (9, 10, 11, 12)]


# What each step asks for, and what is said where the user presses Ctrl-C when the workspace has heard it.
UP_STEPS = {
    "GET /api/2.1/clusters/list": "No cluster was made, and nothing bills",
    "GET /api/2.1/clusters/list-node-types": "No cluster was made, and nothing bills",
    "POST /api/2.1/unity-catalog/volumes": "No cluster was made, and nothing bills",
    "PUT /api/2.0/fs/files/*.whl": "No cluster was made, and nothing bills",
    "POST /api/2.1/clusters/create": "A cluster may be there",
    "GET /api/2.1/clusters/get": "is starting and bills",
}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("route", UP_STEPS)
def test_ctrl_c_at_each_step_of_up_says_what_exists_and_the_same_command_goes_on(server, here, wanted, route):
    server.plan.faults.append(Fault(route, interrupt=True))
    said = refusal(lambda: up(here, wanted), Exit.INTERRUPTED)
    assert UP_STEPS[route] in said
    assert up(here, wanted).is_ready
    assert len(server.clusters.all) == 1


RUN_STEPS = {
    "POST /api/2.0/workspace/import": "it may run and bill",
    "POST /api/2.2/jobs/runs/submit": "it may run and bill",
    "GET /api/2.2/jobs/runs/get": "goes on, and its cluster bills",
    "GET /api/2.2/jobs/runs/export": "has ended, succeeded, and not all of its results are here",
}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("route", RUN_STEPS)
def test_ctrl_c_at_each_step_of_a_run_says_how_to_go_on(server, here, wanted, notebook, route):
    up(here, wanted)
    server.plan.faults.append(Fault(route, interrupt=True))
    said = refusal(lambda: run.run(here, "reviews", notebook, out=notebook.parent / "out"), Exit.INTERRUPTED)
    assert RUN_STEPS[route] in said
    assert "spark-sidecar databricks" in said
    deployer.down(here, "reviews")
    assert here.cloud.active_runs("reviews") == []


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    "route", ["POST /api/2.1/clusters/delete", "POST /api/2.0/workspace/delete", "DELETE /api/2.0/fs/*"]
)
def test_ctrl_c_in_down_says_how_to_delete_the_rest(server, here, wanted, notebook, route):
    up(here, wanted)
    run.run(here, "reviews", notebook)
    server.plan.faults.append(Fault(route, interrupt=True))
    said = refusal(lambda: deployer.down(here, "reviews"), Exit.INTERRUPTED)
    assert f"`spark-sidecar databricks down --name reviews --volume {VOLUME}` deletes the rest" in said
    deployer.down(here, "reviews")
    assert server.clusters.all == {}
    assert here.cloud.store(ROOT).folders() == []


STEPS = (
    "GET /api/2.1/clusters/list", "GET /api/2.0/preview/scim/v2/Me", "GET /api/2.1/unity-catalog/volumes/*",
    "POST /api/2.1/unity-catalog/volumes", "PUT /api/2.0/fs/files/*", "POST /api/2.1/clusters/create",
    "GET /api/2.1/clusters/get", "POST /api/2.0/workspace/import", "POST /api/2.2/jobs/runs/submit",
    "GET /api/2.2/jobs/runs/get", "GET /api/2.2/jobs/runs/export", "GET /api/2.0/fs/directories/*",
    "GET /api/2.2/jobs/runs/list", "POST /api/2.1/clusters/delete", "POST /api/2.1/clusters/permanent-delete",
    "POST /api/2.0/workspace/delete", "DELETE /api/2.0/fs/directories/*",
)  # fmt: skip


def everything(here, wanted, notebook, out):
    """`up`, `run` and `down`, which leave nothing."""
    up(here, wanted)
    assert run.run(here, "reviews", notebook, out=out).exit_code is Exit.DONE
    deployer.down(here, "reviews")
    assert here.cloud.store(ROOT).folders() == []


def test_an_error_of_the_workspace_at_any_step_is_tried_again(server, here, wanted, notebook, tmp_path):
    server.plan.faults += [Fault(route, 500, "INTERNAL_ERROR", "Internal error") for route in STEPS]
    everything(here, wanted, notebook, tmp_path / "out")
    assert server.plan.not_met() == []
    assert asked(server, CREATE) == 2
    assert len(server.jobs.runs) == 1


@pytest.fixture
def impatient(here):
    """The session with clients that give up at once, as the SDK's own does after half a minute."""
    here.cloud.__dict__["_client"] = here.cloud._once
    return here


def test_a_network_that_is_away_for_long_stops_no_wait(server, impatient, wanted, notebook):
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", drop="before", skip=1, times=2))
    server.plan.faults.append(Fault("GET /api/2.2/jobs/runs/get", drop="before", skip=1, times=2))
    up(impatient, wanted)
    assert run.run(impatient, "reviews", notebook).exit_code is Exit.DONE
    assert sum("again in" in each for each in impatient.report.waited) >= 2


def test_a_network_that_stays_away_is_one_sentence_with_what_bills(server, impatient, wanted):
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", drop="before", skip=1, times=99))
    said = refusal(lambda: up(impatient, wanted, timeout_s=15), Exit.TIMEOUT)
    assert "Check the network, then run it again" in said
    assert "is starting and bills" in said


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ((401, "UNAUTHENTICATED", "The token is expired"), "the workspace does not know you: The token is expired"),
        ((403, "PERMISSION_DENIED", "Invalid access token."), "Sign in with `databricks auth login`"),
        ((403, "PERMISSION_DENIED", "You lack CAN_ATTACH_TO"), "is not allowed: You lack CAN_ATTACH_TO"),
        ((404, "RESOURCE_DOES_NOT_EXIST", "Cluster does not exist"), "was deleted by somebody else while it started"),
        ((409, "RESOURCE_CONFLICT", "It is being edited"), "it conflicts with what is there: It is being edited"),
        ((400, "INVALID_STATE", "The workspace is being updated"), "is refused: The workspace is being updated"),
    ],
)
def test_a_refusal_in_a_wait_is_one_sentence_with_what_exists(server, here, wanted, fault, expected):
    status, code, message = fault
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", status, code, message, skip=1, times=9))
    said = refusal(lambda: up(here, wanted), Exit.REFUSED)
    assert expected in said
    assert ("is starting and bills" in said) is (status != 404)


def test_why_workers_do_not_come_is_said_in_the_wait_and_at_its_end(server, here, wanted):
    server.plan.clusters.append(ClusterFate(workers=1, missing="AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    said = refusal(lambda: up(here, wanted, timeout_s=600), Exit.TIMEOUT)
    why = "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE: the cloud has no such node in this zone now"
    assert "the cluster is running with 1 of 2 workers" in said
    assert why in said
    assert any(why in each for each in here.report.waited)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/events", 403, "PERMISSION_DENIED", "no", times=99))
    assert deployer.status(here, "reviews")[0].detail == "RUNNING"


def test_a_cluster_that_somebody_starts_at_the_same_moment_is_adopted(server, here, wanted):
    first = up(here, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(here, "reviews")
    server.clock.advance(60)
    stopped = here.cloud.state(first.cluster_id)
    server.clusters.start(server.clusters.all[first.cluster_id])
    here.cloud.start(stopped)  # the workspace refuses it: INVALID_STATE
    assert up(here, wanted).cluster_id == first.cluster_id


def test_a_start_that_is_refused_says_what_may_bill(server, here, wanted):
    up(here, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(here, "reviews")
    server.clock.advance(60)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/start", 403, "PERMISSION_DENIED", "no"))
    assert "It needs CAN RESTART on the cluster" in refusal(lambda: up(here, wanted), Exit.REFUSED)


def test_a_folder_into_which_a_last_log_is_written_is_deleted_again(server, here, wanted):
    up(here, wanted)
    conflict = Fault("DELETE /api/2.0/fs/directories/*", 409, "RESOURCE_CONFLICT", "The directory is not empty.")
    server.plan.faults.append(conflict)
    deployer.down(here, "reviews")
    assert here.cloud.store(ROOT).folders() == []
    assert any("The directory is not empty.; again in" in each for each in here.report.waited)


def test_a_principal_without_a_home_folder_is_told_what_it_needs(server, wanted, notebook, monkeypatch):
    robot = member(server, monkeypatch, home=False, groups=(Group("team", may_create_clusters=True),))
    up(robot, wanted)
    said = refusal(lambda: run.run(robot, "reviews", notebook), Exit.REFUSED)
    assert "The parent folder (/Users/member@example.com) does not exist." in said
    assert "`databricks workspace mkdirs /Users/member@example.com`" in said
    assert robot.cloud.active_runs("reviews") == []
