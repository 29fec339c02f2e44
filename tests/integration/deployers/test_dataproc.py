"""Clusters and files of deployments on Dataproc, by Google's own clients against a server on loopback."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataproc_v1
from google.oauth2.credentials import Credentials
from support.dataproc_server import errors
from support.dataproc_server.server import NODES_ACCOUNT, PROJECT, REGION, ready
from typer.testing import CliRunner
from unit.csp.deployments import WHEEL, Recorder, bundle

from csp import deployer
from csp.cloud import Deployment, Exit, Phase
from csp.cloud_session import Session
from csp.dataproc.deployer import Dataproc, connect
from csp.up import up
from server_utils.cli.main import app
from server_utils.errors import ConfigurationError, DeploymentError, EnvironmentMissingError
from server_utils.storage.stores.base import TransientError


class ServiceAccount(AnonymousCredentials):
    service_account_email = NODES_ACCOUNT


def test_a_deployment_is_made_found_adopted_and_deleted_and_its_models_stay(server, session, wanted, bucket):
    made = up(session, wanted())
    assert (made.phase, made.ready, made.workers) == (Phase.RUNNING, 2, 2)
    assert made.nodes == "1 x n2-standard-8, 2 x g2-standard-12"
    assert up(session, wanted()).cluster_id == made.cluster_id
    assert server.calls.count("CreateCluster") == 1
    other_laptop = Session(connect(), Recorder())
    (found,) = deployer.status(other_laptop, "mine")
    assert (found.cluster_id, found.root) == (made.cluster_id, f"gs://{bucket}/spark-sidecar/mine")
    server.bucket.blob("spark-sidecar/mine/models/m/manifest.json").upload_from_string("{}")
    deleted = deployer.down(session, "mine")
    assert deleted[0] == f"cluster mine ({made.cluster_id})"
    assert server.clusters.names == []
    assert [name for name in server.object_names() if name.startswith("spark-sidecar/")] == [
        "spark-sidecar/mine/models/m/manifest.json",
        "spark-sidecar/mine/owner/name",
    ]
    assert deployer.down(session, "mine") == []


def test_a_plan_asks_google_nothing(server, session, wanted):
    planned = deployer.plan(session, wanted())
    assert planned.nodes == "1 x n2-standard-8, 2 x g2-standard-12"
    assert set(planned.files) == {"SHA256SUMS", "dataproc.sh", WHEEL}
    assert (server.calls, server.compute.requests, server.object_names()) == ([], [], [])


def test_only_what_changed_is_sent_and_never_over_files_of_a_running_cluster(session, wanted):
    before = deployer.plan(session, wanted()).folder
    deployer.send(session, wanted())
    deployer.send(session, wanted())
    assert [line.partition(" files")[0] for line in session.report.messages] == ["Sent 3 of 3", "Sent 0 of 3"]
    wanted().init_script.write_text("#!/bin/bash\n# changed\n")
    assert deployer.plan(session, wanted()).folder != before


def test_a_zone_of_the_user_is_the_only_one_that_is_tried(server, session, wanted):
    assert up(session, wanted(zone="us-central1-c")).is_ready
    assert server.clusters.all["mine"].config.gce_cluster_config.zone_uri == "us-central1-c"


@pytest.mark.parametrize("details", [True, False])
def test_where_a_zone_has_no_machine_the_next_one_is_tried(server, session, wanted, details):
    server.clusters.stocked_out["us-central1-a"] = errors.stock_out("us-central1-a", details=details)
    assert up(session, wanted()).is_ready
    assert server.clusters.all["mine"].config.gce_cluster_config.zone_uri == "us-central1-b"
    assert (server.calls.count("CreateCluster"), server.calls.count("DeleteCluster")) == (2, 1)


def test_where_no_zone_has_a_machine_nothing_is_left_that_bills(server, session, wanted):
    for zone in server.compute.zones:
        server.clusters.stocked_out[zone] = errors.stock_out(zone)
    with pytest.raises(DeploymentError, match=r"us-central1-c has no such machine now\. .*nothing bills"):
        up(session, wanted())
    assert server.clusters.names == []


def broken(cluster, role, workers, action):
    """A node on which our script ends with an error."""
    return 1, "".join(f"line {n}\n" for n in range(50)) + "error: spark-sidecar: no route to the package index\n"


def test_a_failed_init_action_is_shown_with_its_log_and_the_cluster_is_deleted(server, session, wanted):
    server.clusters.nodes = broken
    with pytest.raises(DeploymentError) as caught:
        up(session, wanted())
    assert "INIT_ACTION: the initialization action gs://" in str(caught.value)
    assert "It is deleted, and nothing bills" in str(caught.value)
    assert str(caught.value).endswith("error: spark-sidecar: no route to the package index")
    assert "line 3\n" not in str(caught.value)
    assert server.clusters.names == []


def test_a_broken_cluster_that_is_kept_is_named_and_found_later(server, session, wanted):
    server.clusters.nodes = broken
    with pytest.raises(DeploymentError, match=r"It is kept: `spark-sidecar dataproc down --name mine .*` removes it"):
        up(session, wanted(), keep=True)
    (state,) = deployer.status(session, "mine")
    assert (state.phase, state.bills) == (Phase.FAILED, True)
    assert "line 3\n" in deployer.logs(session, "mine", ["init"])[0].text
    server.clusters.nodes = ready
    assert up(session, wanted()).is_ready
    assert server.calls.count("DeleteCluster") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.service_disabled(PROJECT), r"dataproc\.googleapis\.com is switched off.*or open https://console\."),
        (errors.cannot_act_as(NODES_ACCOUNT), r"you may not run nodes as nodes@.*roles/iam\.serviceAccountUser"),
        (errors.quota("NVIDIA_L4_GPUS"), r"the quota NVIDIA_L4_GPUS is used up.*Requested 2\.0, available 0\.0"),
        (errors.quota("GPUS_ALL_REGIONS"), r"the quota GPUS_ALL_REGIONS is used up"),
        (errors.organisation_policy("constraints/compute.requireShieldedVm"), r"the policy constraints/compute\.req"),
        (errors.no_permission("dataproc.clusters.create", "projects/p"), r"the permission dataproc\.clusters\.create"),
    ],
)
def test_a_refusal_is_a_sentence_with_the_fix_and_nothing_is_left(server, session, wanted, error, message):
    server.fail("CreateCluster", error)
    with pytest.raises(DeploymentError, match=message):
        up(session, wanted())
    assert server.clusters.names == []


@pytest.mark.parametrize("method", ["ListClusters", "CreateCluster", "GetCluster", "ListOperations"])
@pytest.mark.parametrize("error", [errors.unavailable(), errors.too_many_requests()], ids=["unavailable", "too_many"])
def test_what_may_work_the_next_time_is_tried_again(server, session, wanted, method, error):
    server.fail(method, error, times=2)
    assert up(session, wanted()).is_ready
    assert len(server.clusters.operations.all("CREATE")) == 1


def test_a_creation_whose_answer_is_lost_makes_one_cluster(server, session, wanted):
    server.fail("CreateCluster", errors.unavailable(), late=True)
    assert up(session, wanted()).is_ready
    assert len(server.operations.all("CREATE")) == 1


def test_a_creation_that_is_repeated_by_the_client_is_the_same_one(server, session, wanted):
    server.fail("CreateCluster", errors.unavailable(), late=True)
    server.fail("ListClusters", errors.unavailable(), times=1)
    server.clusters._requests.clear()
    assert up(session, wanted()).is_ready
    assert server.clusters.names == ["mine"]


def test_a_wait_goes_on_when_the_network_is_back(server, session, wanted, pace):
    with server.operations.held("CREATE") as gate:
        away = server.away()

        def back():
            away.__exit__(None, None, None)
            gate.set()
            # Google's own retries wait for a connection that can be used again.
            list(session.cloud._clients.clusters.list_clusters(project_id=PROJECT, region=REGION))

        pace.at = {2: away.__enter__, 6: back}
        assert up(session, wanted()).is_ready
    assert [each for each in session.report.waits if "again in" in each]
    assert server.calls.count("CreateCluster") == 1


def interrupt():
    raise KeyboardInterrupt


def test_ctrl_c_in_the_wait_says_what_bills_and_the_next_up_goes_on(server, session, wanted, pace):
    with server.operations.held("CREATE"):
        pace.at = {2: interrupt}
        with pytest.raises(
            DeploymentError, match=r"stopped by Ctrl-C\. Cluster mine .* is starting and bills"
        ) as caught:
            up(session, wanted())
    assert caught.value.exit_code == Exit.INTERRUPTED
    assert up(session, wanted()).is_ready
    assert server.calls.count("CreateCluster") == 1


def test_a_cluster_without_all_workers_is_not_ready_and_says_so(server, session, wanted):
    server.clusters.lost = 1
    with pytest.raises(
        DeploymentError, match=r"running with 1 of 2 workers.*bills.*dataproc down --name mine .*`"
    ) as caught:
        up(session, wanted(), timeout_s=60)
    assert caught.value.exit_code == Exit.TIMEOUT
    assert "RUNNING; No subnetwork is named: the network 'default' is used." in str(caught.value)


def test_a_warning_of_the_creation_is_shown_while_it_waits(server, session, wanted, pace):
    with server.operations.held("CREATE") as gate:
        pace.at = {2: gate.set}
        up(session, wanted())
    assert "No subnetwork is named: the network 'default' is used." in session.report.waits[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network_tags": ("web",)}, "network tags is not set, not web"),
        ({"service_account": "other@p.iam.gserviceaccount.com"}, "service account is not set, not other@"),
        ({"subnetwork": "projects/p/regions/r/subnetworks/inner"}, "subnetwork is not set, not inner"),
        ({"local_ssds": 1}, "local SSDs is not set, not 1"),
    ],
)
def test_a_cluster_of_another_network_account_or_disks_is_not_adopted(server, session, wanted, options, message):
    up(session, wanted())
    with pytest.raises(DeploymentError, match=f"is another cluster: {message}"):
        up(session, wanted(**options))
    assert server.clusters.names == ["mine"]


def test_a_cluster_of_an_older_version_that_lacks_a_setting_is_adopted(server, session, wanted):
    first = up(session, wanted())
    config = server.clusters.all["mine"].config
    del config.software_config.properties["spark:spark.executorEnv.SPARK_SIDECAR_DATA"]
    config.gce_cluster_config.metadata["spark-sidecar-logs"] = "elsewhere"
    assert up(session, wanted()).cluster_id == first.cluster_id
    (message,) = (each for each in session.report.messages if each.startswith("Adopting"))
    settings = "settings differ (spark-sidecar-logs, spark:spark.executorEnv.SPARK_SIDECAR_DATA)"
    assert f"It stays as it is, although {settings}; --replace makes it anew." in message
    config.gce_cluster_config.metadata["framework"] = "triton"
    with pytest.raises(DeploymentError, match=r"is another cluster: framework is triton, not vllm\. It was not"):
        up(session, wanted())
    assert server.calls.count("CreateCluster") == 1


def make_strangers(server, *names):
    for name in names:
        server.clusters.create(
            dataproc_v1.CreateClusterRequest(
                project_id=PROJECT,
                region=REGION,
                cluster={
                    "cluster_name": name,
                    "config": {
                        "software_config": {"image_version": "2.3-ml-ubuntu22"},
                        "worker_config": {"num_instances": 2},
                    },
                },
            )
        )
    server.operations.settle()


def test_a_name_that_is_somebody_elses_cluster_is_refused_and_not_deleted(server, session, wanted):
    make_strangers(server, "mine")
    with pytest.raises(DeploymentError, match="no deployment of ours; nothing was made") as caught:
        up(session, wanted())
    assert caught.value.exit_code == Exit.TAKEN
    assert deployer.down(session, "mine") == []
    assert server.clusters.names == ["mine"]


def test_a_namesake_that_came_meanwhile_is_not_deleted(server, session, wanted):
    state = up(session, wanted())
    server.clusters.all.pop("mine")
    make_strangers(server, "mine")
    session.cloud.delete(state)
    assert server.clusters.names == ["mine"]
    assert session.cloud.state(state.cluster_id) is None


def test_a_deployment_is_found_among_many_clusters(server, session, wanted):
    server.clusters.page_size = 1
    make_strangers(server, "a", "b", "c")
    up(session, wanted())
    assert [each.name for each in deployer.status(session, "mine")] == ["mine"]
    deployer.down(session, "mine")
    assert server.clusters.names == ["a", "b", "c"]


def test_another_cluster_than_is_wanted_is_kept_unless_it_is_to_be_replaced(server, session, wanted):
    first = up(session, wanted())
    with pytest.raises(DeploymentError, match=r"nodes is 1 x n2-standard-8, 2 x g2-standard-12, not .*3 x g2"):
        up(session, wanted(workers=3))
    second = up(session, wanted(workers=3), replace=True)
    assert (second.workers, second.cluster_id != first.cluster_id) == (3, True)
    assert server.clusters.names == ["mine"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda wanted: bundle(wanted().bundle, "a newer wheel"), r"spark-sidecar-bundle is gs://\S+, not gs://"),
        (lambda wanted: wanted(idle_minutes=30), "idle minutes is 60, not 30"),
        (lambda wanted: wanted("t4x1"), "GPUs is not set, not 1 x nvidia-tesla-t4"),
    ],
)
def test_a_cluster_of_other_files_time_or_gpus_is_another_one(session, wanted, change, message):
    up(session, wanted())
    changed = change(wanted)
    with pytest.raises(DeploymentError, match=message):
        up(session, changed if isinstance(changed, Deployment) else wanted())


def test_a_cluster_that_was_stopped_bills_nothing_and_is_started(server, session, wanted):
    made = up(session, wanted())
    server.clusters.stop("mine")
    (stopped,) = deployer.status(session, "mine")
    assert (stopped.phase, stopped.bills) == (Phase.STOPPED, False)
    assert stopped.detail == "STOPPED (its disks bill until it is deleted)"
    assert up(session, wanted()).cluster_id == made.cluster_id
    assert server.calls.count("StartCluster") == 1


def test_a_cluster_whose_update_failed_takes_jobs_and_is_adopted(server, session, wanted):
    made = up(session, wanted())
    server.clusters.break_update("mine")
    assert up(session, wanted()).cluster_id == made.cluster_id


def test_a_start_whose_answer_is_lost_is_one_start(server, session, wanted):
    made = up(session, wanted())
    server.clusters.stop("mine")
    (stopped,) = deployer.status(session, "mine")
    server.fail("StartCluster", errors.unavailable(), late=True)
    with pytest.raises(TransientError):
        session.cloud.start(stopped)
    session.cloud.start(stopped)
    assert len(server.operations.all("START")) == 1
    assert up(session, wanted()).cluster_id == made.cluster_id


def test_a_single_node_is_ready_without_workers(server, session, wanted):
    assert up(session, wanted(workers=0)).is_ready


def test_a_deployment_of_a_colleague_is_refused_and_not_deleted(server, session, wanted):
    made = up(session, wanted())
    server.compute.email = "bob@example.com"
    for verb in (lambda: up(session, wanted()), lambda: deployer.down(session, "mine")):
        with pytest.raises(DeploymentError, match=r"a deployment of ann@example\.com, and you are bob@") as caught:
            verb()
        assert caught.value.exit_code == Exit.TAKEN
    assert deployer.down(dataclasses.replace(session, owner="ann@example.com"), "mine")[0].endswith(
        f"({made.cluster_id})"
    )


def test_files_of_a_colleague_are_left_alone_where_there_is_no_cluster(server, session, wanted):
    deployer.send(session, wanted())
    before = server.object_names()
    server.compute.email = "bob@example.com"
    for verb in (lambda: up(session, wanted()), lambda: deployer.down(session, "mine", models=True)):
        with pytest.raises(DeploymentError, match=r"a deployment of ann@example\.com, and you are bob@") as caught:
            verb()
        assert caught.value.exit_code == Exit.TAKEN
    assert (server.object_names(), server.clusters.names) == (before, [])


def test_an_account_that_google_does_not_tell_is_that_of_the_credentials(server, bucket):
    server.compute.email = ""
    cloud = connect(bucket=bucket)
    assert cloud.user() == ""
    assert Dataproc(dataclasses.replace(cloud._clients, credentials=ServiceAccount()), bucket).user() == NODES_ACCOUNT


def test_a_printed_line_works_in_a_shell_that_knows_no_place(session, bucket):
    place = f"--project {PROJECT} --region {REGION} --bucket {bucket}"
    assert session.line("down", "mine") == f"spark-sidecar dataproc down --name mine {place}"


@pytest.fixture
def invoke(session, wanted, bucket, monkeypatch):
    """The command line, for a deployment that is up: invoke("status") -> its JSON."""
    up(session, dataclasses.replace(wanted(), init_script=deployer.init_script("dataproc")))
    monkeypatch.setenv("SPARK_SIDECAR_BUCKET", bucket)

    def call(verb, *words):
        ended = CliRunner().invoke(app, ["dataproc", verb, *words, "--name", "mine", "--json"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    return call


def test_the_command_line_adopts_shows_and_deletes_a_deployment(server, session, invoke, wanted):
    nodes = ["--framework", "vllm", "--shape", "l4x1", "--bundle", str(wanted().bundle)]
    adopted = invoke("up", *nodes)
    assert (adopted["ready"], adopted["down"]) == (2, session.line("down", "mine"))
    assert adopted["cost"] == "1 x n2-standard-8, 2 x g2-standard-12 bill until `down`, or 60 minutes without work."
    (shown,) = invoke("status")
    assert shown["cluster_id"] == adopted["cluster_id"]
    assert {each["kind"] for each in invoke("logs")} == {"init"}
    assert invoke("down")["deleted"][0] == f"cluster mine ({shown['cluster_id']})"
    assert server.clusters.names == []


def test_a_plan_of_the_command_line_shows_the_request(server, invoke, wanted):
    planned = invoke("plan", "--framework", "vllm", "--shape", "l4x1", "--bundle", str(wanted().bundle))
    assert planned["request"]["cluster"]["config"]["worker_config"]["machine_type_uri"] == "g2-standard-12"


def test_without_googles_libraries_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.dataproc_v1", None)
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'spark-sidecar\[dataproc\]'"):
        connect()


@pytest.mark.parametrize(
    ("name", "message"), [("CLOUDSDK_DATAPROC_REGION", "--region"), ("GOOGLE_CLOUD_PROJECT", "--project")]
)
def test_a_place_that_nobody_said_is_asked_for(server, monkeypatch, name, message):
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=f"give {message}"):
        connect()


def test_without_credentials_the_command_that_signs_in_is_named(monkeypatch):
    monkeypatch.delenv("DATAPROC_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(DeploymentError, match=r"no credentials for Google.*gcloud auth application-default"):
        connect()


def sign_in_with(server, session, tokens):
    """The session with a user's own credentials, whose access token is over."""
    over = Credentials(None, refresh_token="r", token_uri=tokens, client_id="c", client_secret="s")
    session.cloud._clients.__dict__["clusters"] = server.signed_in(over)


def test_a_sign_in_that_expires_in_a_wait_is_said_with_what_bills(server, session, wanted, pace):
    tokens = f"{server.compute.url}/token"
    with server.operations.held("CREATE") as gate:
        pace.at = {2: lambda: sign_in_with(server, session, tokens), 3: gate.set}
        with pytest.raises(DeploymentError, match=r"expired or revoked.*gcloud auth app.*Cluster mine .* and bills"):
            up(session, wanted())


def test_a_sign_in_that_cannot_be_renewed_without_a_network_is_tried_again(server, session):
    sign_in_with(server, session, "http://127.0.0.1:9/token")
    with pytest.raises(TransientError, match="Getting metadata from plugin failed"):
        session.cloud.find("mine")
