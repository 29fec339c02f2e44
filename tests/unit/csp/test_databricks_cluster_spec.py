"""A cluster for Databricks: the fields of clusters/create, and where an init script may be."""

from __future__ import annotations

import doctest

import pytest

from csp.databricks import cluster_spec
from server_utils.clusters.catalogue import nodes, platforms
from server_utils.clusters.cluster import cluster
from server_utils.errors import ConfigurationError

DATABRICKS = [name for name in platforms() if name != "dataproc"]


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(cluster_spec) == (0, 3)


@pytest.mark.parametrize("platform", DATABRICKS)
def test_databricks_gets_the_nodes_the_conf_and_the_variables(platform):
    for row in nodes(platform):
        defined = cluster(platform, row.shape, "vllm", workers=2)
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
