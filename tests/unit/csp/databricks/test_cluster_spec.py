"""A cluster for Databricks: the fields of clusters/create, and where an init script may be."""

from __future__ import annotations

import doctest

import pytest

from csp.databricks import cluster_spec
from server_utils.clusters.catalogue import nodes, platforms
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError

DATABRICKS = [name for name in platforms() if name != "dataproc"]


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(cluster_spec) == (0, 3)


@pytest.mark.parametrize("platform", DATABRICKS)
def test_databricks_gets_the_nodes_the_conf_and_the_variables(platform):
    for row in nodes(platform):
        spot = Options(spot=row.spot_only)
        defined = cluster(platform, row.shape, "vllm", workers=2, options=spot, allow_undocumented=True)
        body = cluster_spec.request_body(defined, name="mine")
        assert body["node_type_id"] == row.node_type
        assert (body["num_workers"], body["spark_conf"]) == (2, defined.conf)
        assert body["spark_env_vars"]["FRAMEWORK"] == "vllm"
        assert body["spark_version"].endswith(("-gpu-ml-scala2.12", "-gpu-ml-scala2.13"))
        assert "init_scripts" not in body


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/Volumes/main/default/sidecar/init.sh", "volumes"),
        ("/Workspace/Shared/init.sh", "workspace"),
        ("s3://bucket/init.sh", "s3"),
        ("gs://bucket/init.sh", "gcs"),
        ("abfss://container@account/init.sh", "abfss"),
    ],
)
def test_an_init_script_is_named_by_where_it_is(path, kind):
    defined = cluster("databricks-aws", "a10x1", "vllm")
    body = cluster_spec.request_body(defined, name="mine", init_script=path)
    assert body["init_scripts"] == [{kind: {"destination": path}}]


@pytest.mark.parametrize("path", ["init.sh", "dbfs:/init.sh", "https://host/init.sh"])
def test_an_init_script_elsewhere_is_refused(path):
    with pytest.raises(ConfigurationError, match="is none of these"):
        cluster_spec.request_body(cluster("databricks-aws", "a10x1", "vllm"), name="a", init_script=path)


@pytest.mark.parametrize(
    ("platform", "field", "on_demand", "spot"),
    [
        ("databricks-aws", "aws_attributes", "ON_DEMAND", "SPOT_WITH_FALLBACK"),
        ("databricks-azure", "azure_attributes", "ON_DEMAND_AZURE", "SPOT_WITH_FALLBACK_AZURE"),
        ("databricks-gcp", "gcp_attributes", "ON_DEMAND_GCP", "PREEMPTIBLE_WITH_FALLBACK_GCP"),
    ],
)
def test_the_driver_is_on_demand_whatever_the_workers_are(platform, field, on_demand, spot):
    shape = nodes(platform)[0].shape
    for options, expected in ((Options(), on_demand), (Options(spot=True), spot)):
        attributes = cluster_spec.request_body(cluster(platform, shape, "vllm", options=options), name="a")[field]
        assert (attributes["availability"], attributes["first_on_demand"]) == (expected, 1)


def test_a_single_node_says_that_it_is_meant():
    """Databricks refuses a cluster without workers, unless the conf and a tag say so."""
    body = cluster_spec.request_body(cluster("databricks-aws", "a10x1-small", "vllm", workers=0), name="a")
    assert (body["num_workers"], body["custom_tags"]["ResourceClass"]) == (0, "SingleNode")
    assert body["node_type_id"] == body["driver_node_type_id"] == "g5.xlarge"
    assert body["spark_conf"]["spark.databricks.cluster.profile"] == "singleNode"


def test_the_options_are_where_databricks_looks_for_them():
    profile = "arn:aws:iam::123456789012:instance-profile/x"
    options = Options(
        zone="us-east-1a", tags={"team": "a"}, log_folder="/Volumes/a/b/c/logs", single_user="group",
        instance_profile=profile, idle_minutes=30,
    )  # fmt: skip
    body = cluster_spec.request_body(cluster("databricks-aws", "a10x1", "vllm", options=options), name="a")
    assert body["aws_attributes"]["zone_id"] == "us-east-1a"
    assert body["aws_attributes"]["instance_profile_arn"] == profile
    assert body["custom_tags"] == {"spark-sidecar": "vllm", "team": "a"}
    assert body["cluster_log_conf"] == {"volumes": {"destination": "/Volumes/a/b/c/logs"}}
    assert (body["single_user_name"], body["autotermination_minutes"]) == ("group", 30)


def test_the_sdk_of_databricks_knows_every_field():
    compute = pytest.importorskip("databricks.sdk.service.compute")
    options = Options(log_folder="/Volumes/a/b/c/logs", single_user="me", tags={"team": "a"}, zone="us-east-1a")
    defined = cluster("databricks-aws", "a10x1", "vllm", options=options)
    body = cluster_spec.request_body(defined, name="a", init_script="/Volumes/a/b/c/d.sh")
    assert compute.ClusterSpec.from_dict(body).as_dict() == body


def test_the_init_script_is_told_where_the_bundle_is_unless_a_variable_says_so():
    defined = cluster("databricks-aws", "a10x1", "vllm")
    body = cluster_spec.request_body(defined, name="a", bundle="/Volumes/a/b/c/bundle")
    assert body["spark_env_vars"] == {
        "FRAMEWORK": "vllm", "SPARK_SIDECAR_BUNDLE": "/Volumes/a/b/c/bundle", "SPARK_SIDECAR_WORKERS": "2",
    }  # fmt: skip
    named = cluster("databricks-aws", "a10x1", "vllm", env={"SPARK_SIDECAR_BUNDLE": "/Workspace/x"})
    expected = cluster_spec.request_body(named, name="a", bundle="/Volumes/a/b/c/bundle")["spark_env_vars"]
    assert expected["SPARK_SIDECAR_BUNDLE"] == "/Workspace/x"


def test_a_bundle_that_nodes_cannot_see_as_a_folder_is_refused():
    with pytest.raises(ConfigurationError, match=r"'gs://b/x' is none: .* --to /Volumes/"):
        cluster_spec.request_body(cluster("databricks-gcp", "l4x1", "vllm"), name="a", bundle="gs://b/x")


def test_an_init_script_outside_a_volume_is_warned_about():
    assert cluster_spec.init_script_warning("/Volumes/a/b/c/d.sh") is None
    assert cluster_spec.init_script_warning(None) is None
    assert "upload the script to /Volumes/" in cluster_spec.init_script_warning("s3://bucket/init.sh")
