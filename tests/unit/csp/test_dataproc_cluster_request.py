"""The request for a cluster is the one that gcloud makes of our command, field for field."""

from __future__ import annotations

import shutil

import pytest
from google.cloud import dataproc_v1
from google.protobuf import json_format

from csp.dataproc import cluster_spec
from csp.dataproc.cluster_request import Place, create_request
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError
from unit.csp.test_dataproc_cluster_spec import RefusingDataproc, read_by_gcloud

SCRIPT, BUNDLE = "gs://b/dataproc.sh", "gs://b/bundle"
SPOT = Options(zone="us-central1-b", spot_workers=2, local_ssds=1, network_tags=("a", "b"), staging_bucket="files")
SINGLE = Options(zone="us-central1-b", tags={"team": "a"}, staging_bucket="files", idle_minutes=0,
                 service_account="nodes@p.iam.gserviceaccount.com")  # fmt: skip


@pytest.fixture
def dataproc():
    endpoint = RefusingDataproc()
    yield endpoint
    endpoint.close()


def request_of(defined, **labels):
    place = Place("p", "us-central1", "files")
    return create_request(
        defined, name="mine", place=place, init_script=SCRIPT, bundle=BUNDLE, labels=labels, metadata={}
    )


def body_of(request):
    """What Google's library would send."""
    return json_format.MessageToDict(dataproc_v1.Cluster.pb(dataproc_v1.Cluster(request["cluster"])))


def flat(value, path=""):
    """Path of a field -> its value. gcloud sends zeros and empty objects, for which the library sends nothing."""
    if isinstance(value, list) and not all(isinstance(each, dict) for each in value):
        return {path: sorted(value)}
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: each for name, part in parts for key, each in flat(part, f"{path}/{name}").items()}
    return {path: str(value).lower()} if value else {}


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
@pytest.mark.parametrize(
    "defined",
    [
        cluster("dataproc", "l4x1", "vllm", workers=3, options=SPOT),
        cluster("dataproc", "t4x1-small", "vllm", workers=0, runtime="2.3-ubuntu22", options=SINGLE),
    ],
    ids=["spot workers", "a single node without a driver"],
)
def test_it_is_what_gcloud_sends_for_our_command(dataproc, tmp_path, defined):
    command = cluster_spec.gcloud_command(defined, name="mine", init_script=SCRIPT, bundle=BUNDLE)
    left_to_the_default = {"/config/masterConfig/numInstances": "1"}
    assert flat(body_of(request_of(defined))) == flat(read_by_gcloud(dataproc, command, tmp_path)) | left_to_the_default


def test_a_label_of_the_deployment_is_added_to_those_of_the_user():
    labels = request_of(cluster("dataproc", "l4x1", "vllm", options=Options(tags={"team": "a"})), own="mine")
    assert labels["cluster"]["labels"] == {"spark-sidecar": "vllm", "team": "a", "own": "mine"}


def test_a_name_that_dataproc_refuses_is_refused_before_any_request():
    place = Place("p", "us-central1", "files")
    with pytest.raises(ConfigurationError, match="is no name of a cluster"):
        create_request(
            cluster("dataproc", "l4x1", "vllm"),
            name="Mine", place=place, init_script=SCRIPT, bundle=BUNDLE, labels={}, metadata={},
        )  # fmt: skip
