"""`up` on Databricks, by the real SDK against a workspace on loopback: files, adoption, creation, waits."""

from __future__ import annotations

import dataclasses

import pytest
from support.databricks_server.accounts import ME, TOKEN
from support.databricks_server.faults import ClusterFate, Fault, fate
from support.databricks_server.server import DatabricksServer, profile

from csp import deployer
from csp.cloud import Exit, Phase
from csp.databricks.deployer import connect
from csp.up import up
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError
from unit.csp.databricks.workspace import CREATE, ROOT, VOLUME, refusal, request_count, wanted_folder
from unit.csp.deployments import WHEEL, bundle, deployment, new_session


def test_up_makes_the_cluster_of_the_plan_and_waits_for_every_worker(server, session, wanted):
    state = up(session, wanted)
    assert state.is_ready
    assert (state.ready, state.workers, state.owner, state.root) == (2, 2, ME, ROOT)
    assert any("running, workers 1 of 2" in each for each in session.report.waits)
    (made,) = server.clusters.all.values()
    plan = deployer.plan(session, wanted)
    sent = {name: value for name, value in made.spec.items() if name in plan.request}
    assert sent == plan.request
    assert made.spec["single_user_name"] == ME


def test_a_plan_asks_nothing_of_the_workspace(server, session, wanted):
    deployer.plan(session, wanted)
    assert server.requests == []


def test_the_files_are_sent_once_and_the_checksums_last(server, session, wanted):
    deployer.send(session, wanted)
    folder = wanted_folder(session, wanted)
    written = [path for verb, path in server.requests if verb == "PUT" and "/fs/files" in path]
    assert written[0].endswith(f"{ROOT}/owner/name")
    sent = written[1:]
    assert sent[-1].endswith("/SHA256SUMS")
    assert {each.rpartition("/")[2] for each in sent} == {"SHA256SUMS", WHEEL, "databricks.sh", "spark-sidecar.env"}
    settings = server.volumes.on_disk(f"{folder}/spark-sidecar.env").read_text()
    assert settings.splitlines()[:2] == ["FRAMEWORK=vllm", f"SPARK_SIDECAR_BUNDLE={folder}"]
    assert f'SETTINGS="{folder}/spark-sidecar.env"' in server.volumes.on_disk(f"{folder}/databricks.sh").read_text()
    server.requests.clear()
    deployer.send(session, wanted)
    assert [verb for verb, _ in server.requests if verb == "PUT"] == []


def test_an_upload_that_stopped_in_the_middle_is_completed(server, session, wanted):
    deployer.send(session, wanted)
    server.volumes.on_disk(f"{wanted_folder(session, wanted)}/{WHEEL}").unlink()
    server.requests.clear()
    deployer.send(session, wanted)
    sent = [path.rpartition("/")[2] for verb, path in server.requests if verb == "PUT" and "/fs/files" in path]
    assert sent == [WHEEL, "SHA256SUMS"]


def test_a_second_up_adopts_the_cluster(server, session, wanted):
    first = up(session, wanted)
    assert up(session, wanted).cluster_id == first.cluster_id
    assert request_count(server, CREATE) == 1


def test_a_cluster_that_ended_for_lack_of_work_is_started_again(server, session, wanted):
    first = up(session, wanted)
    server.clock.advance(2 * 3600)
    assert deployer.status(session, "reviews")[0].phase in {Phase.STOPPED, Phase.DELETING}
    server.clock.advance(60)
    assert deployer.status(session, "reviews")[0].phase is Phase.STOPPED
    assert up(session, wanted).cluster_id == first.cluster_id


def test_another_cluster_of_that_name_is_replaced_only_where_the_user_says_so(server, session, wanted, tmp_path):
    first = up(session, wanted)
    other = deployment(tmp_path, "databricks-aws", workers=1)
    message = refusal(lambda: up(session, other), Exit.REFUSED)
    assert "the number of workers is 2, not 1" in message
    assert "--replace" in message
    assert up(session, other, replace=True).cluster_id != first.cluster_id
    assert len(deployer.status(session, "reviews")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(spot=True), "the availability is ON_DEMAND, not SPOT_WITH_FALLBACK"),
        (Options(instance_profile="arn:aws:iam::123456789012:instance-profile/p"), "the instance profile is None"),
    ],
)
def test_a_cluster_of_another_availability_or_profile_is_not_adopted(server, session, wanted, options, message):
    up(session, wanted)
    shape = cluster("databricks-aws", "a10x1", "vllm", workers=2, options=options)
    assert message in refusal(lambda: up(session, dataclasses.replace(wanted, clusters=(shape,))), Exit.REFUSED)
    assert request_count(server, CREATE) == 1


def test_a_cluster_of_an_older_version_that_lacks_a_variable_is_adopted(server, session, wanted):
    first = up(session, wanted)
    spec = server.clusters.all[first.cluster_id].spec
    del spec["spark_env_vars"]["SPARK_SIDECAR_DATA"]
    spec["spark_conf"]["spark.task.resource.gpu.amount"] = "0.5"
    assert up(session, wanted).cluster_id == first.cluster_id
    (message,) = (each for each in session.report.messages if each.startswith("Adopting"))
    settings = "Spark settings differ (spark.task.resource.gpu.amount); variables differ (SPARK_SIDECAR_DATA)"
    assert f"It stays as it is, although {settings}; --replace makes it anew." in message
    assert request_count(server, CREATE) == 1


def test_changed_files_make_another_cluster(session, wanted):
    up(session, wanted)
    bundle(wanted.bundle, "a newer wheel")
    assert "the files that nodes install from have changed" in refusal(lambda: up(session, wanted), Exit.REFUSED)


def test_a_create_whose_answer_was_lost_makes_one_cluster(server, session, wanted):
    server.plan.faults.append(Fault("POST /api/2.1/clusters/create", drop="after"))
    assert up(session, wanted).is_ready
    assert len(deployer.status(session, "reviews")) == 1


def test_too_few_workers_are_waited_for_until_the_time_is_up(server, session, wanted):
    server.plan.clusters.append(ClusterFate(workers=1))
    message = refusal(lambda: up(session, wanted, timeout_s=600), Exit.TIMEOUT)
    assert "the cluster is running with 1 of 2 workers" in message
    assert "bills" in message


def test_where_there_is_no_capacity_the_next_shape_is_tried(server, session, tmp_path):
    server.plan.clusters.append(fate("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    state = up(session, either)
    assert state.nodes.endswith("2 x g6.4xlarge")
    assert any("Trying choice 2 of 2" in each for each in session.report.messages)
    assert up(session, either).cluster_id == state.cluster_id


def test_a_cluster_whose_state_is_unknown_is_waited_for_and_not_deleted(server, session, wanted):
    first = up(session, wanted)
    cluster = server.clusters.all[first.cluster_id]
    cluster.state = "UNKNOWN"

    def recover(text):
        cluster.state = "RUNNING"

    session.report.on_wait = recover
    assert up(session, wanted).cluster_id == first.cluster_id


def test_a_start_whose_answer_was_lost_is_not_repeated(server, session, wanted):
    first = up(session, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(session, "reviews")
    server.clock.advance(60)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/start", drop="after"))
    assert up(session, wanted).cluster_id == first.cluster_id
    assert request_count(server, ("POST", "/api/2.1/clusters/start")) == 1


def test_the_lines_to_copy_name_the_place(server, monkeypatch, tmp_path):
    (tmp_path / ".databrickscfg").write_text(f"[a b]\nhost = {server.host}\ntoken = {TOKEN}\n")
    there = new_session(connect(profile="a b", volume=VOLUME), server.clock)
    line = f"spark-sidecar databricks down --name reviews --profile 'a b' --volume {VOLUME}"
    assert there.line("down", "reviews") == line


def test_a_cluster_of_that_name_without_our_tag_is_no_deployment(server, session, wanted):
    session.cloud._client.clusters.create(
        spark_version="17.3.x-gpu-ml-scala2.13", cluster_name="reviews", node_type_id="g5.4xlarge", num_workers=1
    )
    assert "no deployment of ours" in refusal(lambda: up(session, wanted), Exit.TAKEN)
    assert deployer.down(session, "reviews") == []
    assert not deployer.status(session, "reviews")[0].ours


@pytest.mark.parametrize(("cloud", "shape"), [("azure", "t4x1"), ("gcp", "l4x1")])
def test_each_cloud_takes_the_definition(tmp_path, monkeypatch, cloud, shape):
    with DatabricksServer(tmp_path / cloud, cloud=cloud) as server:
        for name, value in profile(server).items():
            monkeypatch.setenv(name, value)
        session = new_session(connect(volume=VOLUME), server.clock)
        assert session.cloud.cloud_name() == cloud
        assert up(session, deployment(tmp_path, f"databricks-{cloud}", shape)).is_ready
        assert deployer.down(session, "reviews")


@pytest.mark.parametrize("volume", ["main.default.files", "/Volumes/main/default", "/Volumes/main/default/files/more"])
def test_a_volume_has_a_catalog_a_schema_and_a_name(volume):
    with pytest.raises(ConfigurationError, match="/Volumes/CATALOG/SCHEMA/NAME"):
        connect(volume=volume)


def test_a_cluster_that_somebody_starts_at_the_same_moment_is_adopted(server, session, wanted):
    first = up(session, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(session, "reviews")
    server.clock.advance(60)
    stopped = session.cloud.state(first.cluster_id)
    server.clusters.start(server.clusters.all[first.cluster_id])
    session.cloud.start(stopped)  # the workspace refuses it: INVALID_STATE
    assert up(session, wanted).cluster_id == first.cluster_id
