"""Google's other clients at the same Dataproc: gcloud, and the library by REST, see and change what `up` made."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, NotFound, TooManyRequests
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataproc_v1
from google.cloud.dataproc_v1.services import cluster_controller, job_controller, workflow_template_service
from support.dataproc_server import errors
from support.dataproc_server.server import PROJECT, REGION

from csp import deployer
from csp.cloud import Exit, Phase, RunPhase, RunRequest
from csp.dataproc.gcloud_command import gcloud_command
from csp.up import up
from server_utils.errors import DeploymentError

PLACE = {"project_id": PROJECT, "region": REGION}
needs_gcloud = pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")


@pytest.fixture
def gcloud(server, tmp_path):
    """Runs gcloud, without its configuration: gcloud("dataproc", "clusters", "list") -> how it ended."""
    addresses = {"DATAPROC": f"{server.rest.url}/", "STORAGE": f"{server.storage_url}/storage/v1/"}
    environ = os.environ | {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": address for name, address in addresses.items()}
    environ |= {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_PROJECT": PROJECT,
    }

    def call(*words):
        return subprocess.run(["gcloud", *words], env=environ, capture_output=True, text=True, check=False, timeout=120)

    return call


@needs_gcloud
def test_gcloud_sees_a_deployment_runs_a_job_on_it_and_deletes_it(server, session, wanted, gcloud):
    up(session, wanted())
    seen = gcloud(
        "dataproc",
        "clusters",
        "list",
        "--filter=labels.spark-sidecar-deployment=mine",
        "--format=value(clusterName,status.state)",
    )
    assert seen.stdout.split() == ["mine", "RUNNING"], seen.stderr
    server.jobs.driver = lambda cluster, job, write, cancelled: write("42 rows\n")
    ran = gcloud("dataproc", "jobs", "submit", "pyspark", "gs://b/program.py", "--cluster=mine", "--id=by-gcloud")
    assert (ran.returncode, "42 rows" in ran.stderr) == (0, True), ran.stderr
    (log,) = deployer.logs(session, "mine", ["driver"])
    assert (log.name, log.text) == ("by-gcloud", "42 rows\n")
    ended = gcloud("dataproc", "clusters", "delete", "mine")
    assert "Deleted [" in ended.stderr
    with pytest.raises(DeploymentError, match="there is no deployment 'mine'") as caught:
        deployer.status(session, "mine")
    assert caught.value.exit_code == Exit.NOT_FOUND


@needs_gcloud
def test_the_command_that_we_print_makes_the_cluster_and_its_broken_node_is_found(server, session, wanted, gcloud):
    server.clusters.nodes = lambda cluster, role, workers, action: (1, "no route to the package index\n")
    (defined,) = wanted(zone="us-central1-b", staging_bucket=server.bucket.name).clusters
    _, *words = gcloud_command(defined, name="theirs", init_script="gs://b/s.sh", bundle="gs://b/files")
    made = gcloud(*words, f"--region={REGION}")
    assert (made.returncode, "Initialization action failed" in made.stderr) == (1, True), made.stderr
    (state,) = session.cloud.find("theirs")
    assert (state.phase, state.ours, state.nodes) == (Phase.FAILED, False, "1 x n2-standard-8, 2 x g2-standard-12")
    failure = session.cloud.failure(state)
    assert (failure.code, failure.log) == ("INIT_ACTION", "no route to the package index")
    assert deployer.down(session, "theirs") == []
    assert server.clusters.names == ["theirs"]


@pytest.fixture
def by_rest(server):
    """The library's clients by REST: by_rest(module of a service) -> client."""

    def make(service):
        (kind,) = (getattr(service, each) for each in dir(service) if each.endswith("Client") and "Async" not in each)
        transport = kind.get_transport_class("rest")
        address = server.rest.url.removeprefix("http://")
        return kind(transport=transport(host=address, credentials=AnonymousCredentials(), url_scheme="http"))

    return make


@pytest.fixture
def clusters(by_rest):
    return by_rest(cluster_controller)


def definition(session, wanted):
    return session.cloud.definition(wanted(zone="us-central1-a"), wanted(zone="us-central1-a").clusters[0])


def test_a_cluster_of_our_request_made_by_rest_is_adopted(server, session, wanted, clusters):
    deployer.send(session, wanted())
    made = clusters.create_cluster(request=definition(session, wanted)).result(timeout=60)
    assert made.status.state == dataproc_v1.ClusterStatus.State.RUNNING
    assert up(session, wanted()).cluster_id == f"mine/{made.cluster_uuid}"
    assert [
        each.cluster_name for each in clusters.list_clusters(request=PLACE | {"filter": "labels.spark-sidecar = vllm"})
    ] == ["mine"]
    clusters.delete_cluster(request=PLACE | {"cluster_name": "mine", "cluster_uuid": made.cluster_uuid}).result(
        timeout=60
    )
    assert server.clusters.names == []


def test_a_run_of_ours_is_followed_and_cancelled_by_rest(server, session, wanted, program, by_rest):
    server.jobs.driver = lambda cluster, job, write, cancelled: int(cancelled.wait(60))
    state = up(session, wanted())
    request = RunRequest("mine", program, {}, f"{state.root}/runs/1", "token", 60, cluster=state)
    run_id, jobs = session.cloud.submit(request), by_rest(job_controller)
    (found,) = jobs.list_jobs(request=PLACE | {"filter": "labels.spark-sidecar-run = mine"})
    assert found.reference.job_id == run_id
    jobs.cancel_job(request=PLACE | {"job_id": run_id})
    server.operations.settle()
    assert session.cloud.run_state(run_id).phase is RunPhase.CANCELLED


def test_a_workflow_by_rest_makes_and_deletes_its_cluster(server, session, wanted, by_rest):
    config = definition(session, wanted)["cluster"]["config"]
    template = {
        "placement": {"managed_cluster": {"cluster_name": "own", "config": config}},
        "jobs": [{"step_id": "run", "pyspark_job": {"main_python_file_uri": "gs://b/program.py"}}],
    }
    body = {"parent": f"projects/{PROJECT}/regions/{REGION}", "template": template}
    ended = by_rest(workflow_template_service).instantiate_inline_workflow_template(request=body)
    ended.result(timeout=60)
    assert (len(server.jobs.all), server.clusters.names) == (1, [])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.quota("NVIDIA_L4_GPUS"), BadRequest),
        (errors.ApiError("ALREADY_EXISTS", "Already exists: mine"), Conflict),
        (errors.no_permission("dataproc.clusters.create", "projects/p"), Forbidden),
        (errors.not_found("Cluster", "mine"), NotFound),
        (errors.too_many_requests(), TooManyRequests),
    ],
    ids=["400", "409", "403", "404", "429"],
)
def test_an_error_by_rest_has_its_status_and_message(server, clusters, error, kind):
    server.fail("GetCluster", error)
    with pytest.raises(kind, match=error.status.message.partition(".")[0]):
        clusters.get_cluster(request=PLACE | {"cluster_name": "mine"}, retry=None)


def test_an_unknown_field_is_refused(server, clusters):
    session = clusters.transport._session
    answer = session.post(
        f"{server.rest.url}/v1/projects/{PROJECT}/regions/{REGION}/clusters", json={"clusterNam": "x"}
    )
    assert (answer.status_code, "clusterNam" in answer.json()["error"]["message"]) == (400, True)
