"""The free checks before a cluster is made on Dataproc: APIs, permissions, zones, quota and bucket."""

from __future__ import annotations

import pytest
from support.dataproc_server.server import NODES_ACCOUNT
from unit.csp.deployments import Recorder

from csp import deployer
from csp.cloud import Exit
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from csp.up import up
from server_utils.errors import DeploymentError


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
    ("spoil", "message"),
    [
        (switch_off, r"compute\.googleapis\.com of project-1 are off; run `gcloud services enable compute"),
        (forbid, r"you do not have dataproc\.clusters\.create, .*roles/dataproc\.editor"),
        (forbid, r"you may not run nodes as nodes@.*; ask for roles/iam\.serviceAccountUser"),
        (sell_nothing, r"no zone of us-central1 has g2-standard-12 .*choose another --region or shape"),
        (use_up, r"NVIDIA_L4_GPUS: 2 needed, 1 left; ask for more"),
        (use_up_everywhere, r"GPUS_ALL_REGIONS: 2 needed, 0 left"),
    ],
)
def test_what_google_would_refuse_is_said_before_anything_is_made(server, session, wanted, spoil, message):
    spoil(server)
    with pytest.raises(DeploymentError, match=message) as caught:
        up(session, wanted(service_account=NODES_ACCOUNT))
    assert caught.value.exit_code == Exit.CHECK_FAILED
    assert "CreateCluster" not in server.calls
    assert server.object_names() == []


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
        ((2, 6), "GPUS_ALL_REGIONS: 4, NVIDIA_L4_GPUS: 2, PREEMPTIBLE_NVIDIA_L4_GPUS: 2"),
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
