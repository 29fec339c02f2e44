"""The verbs on Dataproc, by Google's own clients against a server on loopback: what is made, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataproc_v1
from google.oauth2.credentials import Credentials
from support.dataproc_server import errors
from support.dataproc_server.execute import SparkDriver
from support.dataproc_server.server import PROJECT, REGION, ready
from typer.testing import CliRunner
from unit.csp.deployments import WHEEL, Recorder, bundle

from csp import deployer
from csp.cloud import Deployment, Exit, Phase, RunPhase, RunRequest
from csp.cloud_session import Session
from csp.dataproc.deployer import Dataproc, connect
from csp.run import follow, run
from csp.up import up
from server_utils.cli.main import app
from server_utils.errors import ConfigurationError, DeploymentError, EnvironmentMissingError
from server_utils.servers.log_delivery import delivered
from server_utils.storage.stores.base import TransientError

ACCOUNT = f"nodes@{PROJECT}.iam.gserviceaccount.com"


class ServiceAccount(AnonymousCredentials):
    service_account_email = ACCOUNT


def stored(server):
    return sorted(blob.name for blob in server.bucket.list_blobs())


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
    assert [name for name in stored(server) if name.startswith("spark-sidecar/")] == [
        "spark-sidecar/mine/models/m/manifest.json",
        "spark-sidecar/mine/owner/name",
    ]
    assert deployer.down(session, "mine") == []


def test_a_plan_asks_google_nothing(server, session, wanted):
    planned = deployer.plan(session, wanted())
    assert planned.nodes == "1 x n2-standard-8, 2 x g2-standard-12"
    assert set(planned.files) == {"SHA256SUMS", "dataproc.sh", WHEEL}
    assert (server.calls, server.compute.asked, stored(server)) == ([], [], [])


def test_only_what_changed_is_sent_and_never_over_files_of_a_running_cluster(session, wanted):
    before = deployer.plan(session, wanted()).folder
    deployer.send(session, wanted())
    deployer.send(session, wanted())
    assert [line.partition(" files")[0] for line in session.report.said] == ["Sent 3 of 3", "Sent 0 of 3"]
    wanted().init_script.write_text("#!/bin/bash\n# changed\n")
    assert deployer.plan(session, wanted()).folder != before


def switch_off(server):
    server.compute.services.remove("compute.googleapis.com")


def forbid(server):
    server.compute.permissions = {"dataproc.clusters.get"}


def sell_nothing(server):
    server.compute.zones = {zone: {"n2-standard-8"} for zone in server.compute.zones}


def use_up(server):
    server.compute.used["NVIDIA_L4_GPUS"] = 7


def use_up_everywhere(server):
    server.compute.limits["GPUS_ALL_REGIONS"] = 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (switch_off, r"compute\.googleapis\.com of project-1 are off; run `gcloud services enable compute"),
        (forbid, r"you do not have dataproc\.clusters\.create, .*roles/dataproc\.editor"),
        (forbid, r"you may not run nodes as nodes@.*; ask for roles/iam\.serviceAccountUser"),
        (sell_nothing, r"no zone of us-central1 has g2-standard-12 .*choose another --region or shape"),
        (use_up, r"NVIDIA_L4_GPUS: 2 needed, 1 left; ask for more"),
        (use_up_everywhere, r"GPUS_ALL_REGIONS: 2 needed, 0 left"),
    ],
)
def test_what_google_would_refuse_is_said_before_anything_is_made(server, session, wanted, spoil, said):
    spoil(server)
    with pytest.raises(DeploymentError, match=said) as caught:
        up(session, wanted(service_account=ACCOUNT))
    assert caught.value.exit_code == Exit.CHECK_FAILED
    assert "CreateCluster" not in server.calls
    assert stored(server) == []


def test_a_shape_without_quota_is_tried_last(server, session, wanted):
    server.compute.used["NVIDIA_L4_GPUS"] = 7
    made = up(session, wanted("l4x1", "t4x1"))
    assert made.nodes == "1 x n2-standard-8, 2 x n1-standard-16"
    server.compute.used["NVIDIA_T4_GPUS"] = 8  # by what is there
    assert up(session, wanted("l4x1", "t4x1")).cluster_id == made.cluster_id


def test_quota_that_is_too_small_for_every_shape_is_said_for_each(server, session, wanted):
    server.compute.used.update({"NVIDIA_L4_GPUS": 7, "NVIDIA_T4_GPUS": 8})
    with pytest.raises(DeploymentError, match="NVIDIA_L4_GPUS: 2 needed, 1 left; NVIDIA_T4_GPUS: 2 needed, 0 left"):
        up(session, wanted("l4x1", "t4x1"))


@pytest.mark.parametrize(
    ("quotas", "result"),
    [
        ((0, 4), "GPUS_ALL_REGIONS: 4, NVIDIA_L4_GPUS: 4"),  # no preemptible quota: spot workers take the standard one
        ((0, 5), "NVIDIA_L4_GPUS: 4 needed, 3 left"),
        ((2, 6), "GPUS_ALL_REGIONS: 2, NVIDIA_L4_GPUS: 2, PREEMPTIBLE_NVIDIA_L4_GPUS: 2"),
        ((1, 6), "PREEMPTIBLE_NVIDIA_L4_GPUS: 2 needed, 1 left"),
    ],
)
def test_spot_workers_count_against_the_preemptible_quota_only_where_it_was_granted(
    server, session, wanted, quotas, result
):
    preemptible, used = quotas
    server.compute.limits["PREEMPTIBLE_NVIDIA_L4_GPUS"] = preemptible
    server.compute.used["NVIDIA_L4_GPUS"] = used
    (quota,) = (each for each in deployer.check(session, wanted(spot_workers=2)) if each.name == "quota")
    assert (quota.detail, quota.passed) == (result, "needed" not in result)


def test_a_bucket_that_is_not_there_is_said_before_anything_is_made(server, wanted, pace):
    session = Session(connect(bucket="nowhere"), Recorder(), clock=pace.clock())
    with pytest.raises(DeploymentError, match=r"there is no gs://nowhere; `gcloud storage buckets create"):
        up(session, wanted())
    assert "CreateCluster" not in server.calls


def test_a_check_that_may_not_be_asked_stops_nothing(server, session, wanted):
    server.compute.failing = {"services:batchGet": (403, "serviceusage.services.list denied")}
    (apis,) = (each for each in deployer.check(session, wanted()) if each.name == "APIs")
    assert (apis.passed, apis.detail[:20]) == (True, "could not be checked")


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
    ("error", "said"),
    [
        (errors.service_disabled(PROJECT), r"dataproc\.googleapis\.com is switched off.*or open https://console\."),
        (errors.cannot_act_as(ACCOUNT), r"you may not run nodes as nodes@.*roles/iam\.serviceAccountUser"),
        (errors.quota("NVIDIA_L4_GPUS"), r"the quota NVIDIA_L4_GPUS is used up.*Requested 2\.0, available 0\.0"),
        (errors.quota("GPUS_ALL_REGIONS"), r"the quota GPUS_ALL_REGIONS is used up"),
        (errors.organisation_policy("constraints/compute.requireShieldedVm"), r"the policy constraints/compute\.req"),
        (errors.no_permission("dataproc.clusters.create", "projects/p"), r"the permission dataproc\.clusters\.create"),
    ],
)
def test_a_refusal_is_a_sentence_with_the_fix_and_nothing_is_left(server, session, wanted, error, said):
    server.fail("CreateCluster", error)
    with pytest.raises(DeploymentError, match=said):
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
    assert [each for each in session.report.waited if "again in" in each]
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
    assert "No subnetwork is named: the network 'default' is used." in session.report.waited[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network_tags": ("web",)}, "network tags is not set, not web"),
        ({"service_account": "other@p.iam.gserviceaccount.com"}, "service account is not set, not other@"),
        ({"subnetwork": "projects/p/regions/r/subnetworks/inner"}, "subnetwork is not set, not inner"),
        ({"local_ssds": 1}, "local SSDs is not set, not 1"),
    ],
)
def test_a_cluster_of_another_network_account_or_disks_is_not_adopted(server, session, wanted, options, said):
    up(session, wanted())
    with pytest.raises(DeploymentError, match=f"is another cluster: {said}"):
        up(session, wanted(**options))
    assert server.clusters.names == ["mine"]


def test_a_cluster_of_an_older_version_that_lacks_a_setting_is_adopted(server, session, wanted):
    first = up(session, wanted())
    config = server.clusters.all["mine"].config
    del config.software_config.properties["spark:spark.executorEnv.SPARK_SIDECAR_DATA"]
    config.gce_cluster_config.metadata["spark-sidecar-logs"] = "elsewhere"
    assert up(session, wanted()).cluster_id == first.cluster_id
    (said,) = (each for each in session.report.said if each.startswith("Adopting"))
    settings = "settings differ (spark-sidecar-logs, spark:spark.executorEnv.SPARK_SIDECAR_DATA)"
    assert f"It stays as it is, although {settings}; --replace makes it anew." in said
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
    ("change", "said"),
    [
        (lambda wanted: bundle(wanted().bundle, "a newer wheel"), r"spark-sidecar-bundle is gs://\S+, not gs://"),
        (lambda wanted: wanted(idle_minutes=30), "idle minutes is 60, not 30"),
        (lambda wanted: wanted("t4x1"), "GPUs is not set, not 1 x nvidia-tesla-t4"),
    ],
)
def test_a_cluster_of_other_files_time_or_gpus_is_another_one(session, wanted, change, said):
    up(session, wanted())
    changed = change(wanted)
    with pytest.raises(DeploymentError, match=said):
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


def talk(cluster, job, write, cancelled):
    """Prints more than one piece of output."""
    for number in range(45):
        write(f"line {number}\n")
    return 0


def test_a_run_shows_all_of_its_output_once(server, session, wanted, program):
    server.jobs.driver = talk
    up(session, wanted())
    ended = run(session, "mine", program)
    assert (ended.state.phase, ended.exit_code) == (RunPhase.SUCCEEDED, Exit.DONE)
    assert session.report.printed == "".join(f"line {number}\n" for number in range(45))
    (job,) = server.jobs.all.values()
    sent = stored(server)
    assert {job.pyspark_job.main_python_file_uri.partition(".run/")[2], "program.py"} <= {
        name.partition(".run/")[2] for name in sent
    }
    assert [each.text for each in deployer.logs(session, "mine", ["driver"])] == [session.report.printed]


@pytest.mark.parametrize("end", ["ERROR", "ATTEMPT_FAILURE"])
def test_a_run_that_fails_ends_the_command_with_its_own_status(server, session, wanted, program, end):
    server.jobs.driver = lambda cluster, job, write, cancelled: 1
    server.jobs.end_state = dataproc_v1.JobStatus.State[end]
    up(session, wanted())
    ended = run(session, "mine", program)
    assert (ended.state.phase, ended.exit_code) == (RunPhase.FAILED, Exit.RUN_FAILED)
    assert "Google Cloud Dataproc Agent reports job failure" in ended.state.detail


class CancelOnce:
    """In the middle of a run, by a second laptop: looks which runs go on, and cancels them. found: their ids."""

    def __init__(self, server, cloud):
        self.server, self._cloud, self.found, self.of_others = server, cloud, [], []

    def __call__(self):
        if not self.found:
            me, self.server.compute.email = self.server.compute.email, "bob@example.com"
            self.of_others = [*self._cloud.active_runs("mine"), *self._cloud.active_runs("min")]
            self.server.compute.email = me
            self.found = list(self._cloud.active_runs("mine"))
            for run_id in self.found:
                self._cloud.cancel(run_id)

    def node(self, cluster, role, workers, action):
        self()
        return ready(cluster, role, workers, action)

    def driver(self, cluster, job, write, cancelled):
        self()
        assert cancelled.wait(60)
        return 1


@pytest.fixture
def cancel(server, session):
    return CancelOnce(server, session.cloud)


def check_cancelled(server, session, cancel, ended):
    assert (ended.state.phase, ended.exit_code) == (RunPhase.CANCELLED, Exit.RUN_NOT_DONE)
    assert (cancel.found, cancel.of_others) == ([ended.state.run_id], [])
    server.operations.settle()
    assert session.cloud.active_runs("mine") == []
    session.cloud.cancel(ended.state.run_id)  # it ended: that is no error


def test_a_run_that_goes_on_is_found_and_cancelled(server, session, wanted, program, cancel):
    up(session, wanted())
    server.jobs.driver = cancel.driver
    check_cancelled(server, session, cancel, run(session, "mine", program))


@pytest.mark.parametrize("when", ["its cluster is made", "it runs"])
def test_a_run_on_a_cluster_of_its_own_is_found_and_cancelled_with_it(session, wanted, program, cancel, when):
    if when == "it runs":
        cancel.server.jobs.driver = cancel.driver
    else:
        cancel.server.clusters.nodes = cancel.node
    check_cancelled(cancel.server, session, cancel, run(session, "mine", program, own_cluster=wanted()))
    assert cancel.server.clusters.names == []


def test_down_ends_a_run_on_a_cluster_of_its_own(server, session, wanted, program, bucket):
    began = threading.Event()

    def until_cancelled(cluster, job, write, cancelled):
        began.set()
        assert cancelled.wait(60)
        return 1

    server.jobs.driver = until_cancelled
    results = f"gs://{bucket}/spark-sidecar/mine/runs/1"
    run_id = session.cloud.submit(RunRequest("mine", program, {}, results, "token", 60, deployment=wanted()))
    assert began.wait(60)
    deployer.down(session, "mine")
    server.operations.settle()
    assert session.cloud.run_state(run_id).phase is RunPhase.CANCELLED
    assert server.clusters.names == []


@pytest.mark.parametrize("run_id", ["workflow-unknown", "unknown"])
def test_a_run_that_is_not_there_ends_with_7_and_is_cancelled_already(session, run_id):
    session.cloud.cancel(run_id)
    with pytest.raises(DeploymentError, match=f"there is no run '{run_id}' in {PROJECT}, {REGION}") as caught:
        follow(session, run_id, name="mine")
    assert caught.value.exit_code == Exit.NOT_FOUND


def test_a_program_with_the_name_of_our_main_file_is_the_one_that_runs(server, session, wanted, program):
    server.jobs.driver = SparkDriver(server.bucket, server.environ, submit=lambda cluster: [sys.executable])
    up(session, wanted())
    assert run(session, "mine", program.rename(program.with_name("job_main.py"))).exit_code == Exit.DONE
    assert session.report.printed == "1\n"


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
    before = stored(server)
    server.compute.email = "bob@example.com"
    for verb in (lambda: up(session, wanted()), lambda: deployer.down(session, "mine", models=True)):
        with pytest.raises(DeploymentError, match=r"a deployment of ann@example\.com, and you are bob@") as caught:
            verb()
        assert caught.value.exit_code == Exit.TAKEN
    assert (stored(server), server.clusters.names) == (before, [])


def test_an_account_that_google_does_not_tell_is_that_of_the_credentials(server, bucket):
    server.compute.email = ""
    cloud = connect(bucket=bucket)
    assert cloud.user() == ""
    assert Dataproc(dataclasses.replace(cloud._clients, credentials=ServiceAccount()), bucket).user() == ACCOUNT


def test_a_printed_line_works_in_a_shell_that_knows_no_place(session, bucket):
    place = f"--project {PROJECT} --region {REGION} --bucket {bucket}"
    assert session.line("down", "mine") == f"spark-sidecar dataproc down --name mine {place}"


def test_a_submission_whose_answer_is_lost_is_one_job(server, session, wanted, program):
    up(session, wanted())
    server.fail("SubmitJobAsOperation", errors.unavailable(), late=True)
    assert run(session, "mine", program).exit_code == Exit.DONE
    assert len(server.jobs.all) == 1


def test_a_run_on_a_cluster_of_its_own_leaves_none(server, session, wanted, program):
    server.jobs.driver = talk
    ended = run(session, "mine", program, own_cluster=wanted())
    assert (ended.state.phase, ended.state.results.startswith("gs://")) == (RunPhase.SUCCEEDED, True)
    assert session.report.printed.endswith("line 44\n")
    server.operations.settle()
    assert (server.clusters.names, deployer.down(session, "mine")[-1].rpartition("/")[2]) == ([], "runs")


BOUNDS = {1: 601, 3600: 4200, 86400: 86400, 90000: 0}


def test_google_itself_bounds_a_run_on_a_cluster_of_its_own(server, session, wanted, program):
    for asked_s in BOUNDS:
        run(session, "mine", program, own_cluster=wanted(), timeout_s=asked_s)
    bounds = [each.metadata.dag_timeout.total_seconds() for each in server.operations.all("WORKFLOW")]
    assert bounds == list(BOUNDS.values())


def test_a_run_on_a_cluster_of_its_own_whose_answer_is_lost_is_one_run(server, session, wanted, program):
    """The first one goes on when the second is asked for: Dataproc knows the token until its end."""
    server.fail("InstantiateInlineWorkflowTemplate", errors.unavailable(), late=True)
    with server.operations.held("WORKFLOW") as go_on:
        server.on_call = lambda name: go_on.set() if name == "GetOperation" else None
        assert run(session, "mine", program, own_cluster=wanted()).exit_code == Exit.DONE
    assert len(server.jobs.all) == 1


def test_a_run_without_a_cluster_says_how_to_make_one(session, program):
    with pytest.raises(
        DeploymentError, match=r"no deployment 'mine' in project-1, us-central1; .*dataproc up"
    ) as caught:
        run(session, "mine", program)
    assert caught.value.exit_code == Exit.NOT_FOUND


def test_what_executors_printed_is_shown_by_container(server, session, wanted):
    state = up(session, wanted())
    cluster_uuid = state.cluster_id.partition("/")[2]
    for text in ("one", "two"):
        payload = {"container": "container_1_000002", "message": text}
        server.compute.lines.append({"uuid": cluster_uuid, "jsonPayload": payload})
    (log,) = deployer.logs(session, "mine", ["executor"])
    assert (log.name, log.text) == ("container_1_000002", "one\ntwo")


def test_logs_of_nodes_and_of_servers_are_told_apart(server, session, wanted, tmp_path, monkeypatch):
    up(session, wanted())
    server.bucket.blob("spark-sidecar/mine/logs/mine-w-0/init.log").upload_from_string("node\n")
    properties = server.clusters.all["mine"].config.software_config.properties
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", properties["spark:spark.executorEnv.SPARK_SIDECAR_LOGS"])
    folder = tmp_path / "app-1" / "reviews" / "1-2"
    folder.mkdir(parents=True)
    with delivered(folder):  # as the supervisor of a server does
        (folder / "server.log").write_text("a server of reviews\n")
    (log,) = deployer.logs(session, "mine", ["server"])
    assert (log.kind, log.name.partition("/")[0], log.text) == ("server", "reviews", "a server of reviews\n")
    assert [each.text for each in deployer.logs(session, "mine", ["init"])][-1] == "node\n"


def test_of_logs_the_last_lines_of_the_newest_are_shown(server, session, wanted):
    up(session, wanted())
    for number in (9, 10, 11, 12, 13):
        key = f"spark-sidecar/mine/logs/servers/application_1_{number}/reviews/host.log"
        server.bucket.blob(key).upload_from_string("".join(f"line {each}\n" for each in range(200)))
    shown = deployer.logs(session, "mine", ["server"])
    assert len(shown) == 4
    assert shown[0].text.splitlines()[0::99] == ["line 100", "line 199"]


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
    ("name", "said"), [("CLOUDSDK_DATAPROC_REGION", "--region"), ("GOOGLE_CLOUD_PROJECT", "--project")]
)
def test_a_place_that_nobody_said_is_asked_for(server, monkeypatch, name, said):
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=f"give {said}"):
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
