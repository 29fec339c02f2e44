"""Every platform, shape and framework: what Terraform plans is what the Python side computes."""

from __future__ import annotations

import pytest

from csp.databricks import cluster_spec as databricks_spec
from server_utils.clusters import cluster
from server_utils.clusters.catalogue import nodes, platforms

FRAMEWORKS = cluster.frameworks()
DATABRICKS = [each for each in platforms() if each.startswith("databricks-")]
# One plan for all of a platform: a module for each combination.
ROOT = """
locals {{
  shapes     = {shapes}
  frameworks = {frameworks}
  each       = {{ for pair in setproduct(local.shapes, local.frameworks) : "${{pair[0]}}/${{pair[1]}}" => pair }}
}}

module "cluster" {{
  source    = "../../modules/{module}"
  for_each  = local.each
  shape     = each.value[0]
  framework = each.value[1]
  {more}
}}
"""
ON_DATAPROC = """
  project         = "project-1"
  region          = "us-central1"
  zone            = "us-central1-a"
  service_account = "kit@project-1.iam.gserviceaccount.com"
  staging_bucket  = "project-1-files"
"""


def quoted(words):
    return "[" + ", ".join(f'"{each}"' for each in words) + "]"


def planned(terraform, copy, platform, module, more):
    """Address "shape/framework" -> the planned cluster."""
    folder = copy / "terraform" / "examples" / f"all-{platform}"
    folder.mkdir(exist_ok=True)
    shapes = [each.shape for each in nodes(platform)]
    text = ROOT.format(shapes=quoted(shapes), frameworks=quoted(FRAMEWORKS), module=module, more=more)
    (folder / "main.tf").write_text(text)
    terraform.init(folder)
    changes = terraform.plan(folder)["resource_changes"]
    return {
        each["module_address"].split('"')[1]: each["change"]["after"] for each in changes if each["mode"] == "managed"
    }


def combinations(platform):
    return {f"{each.shape}/{framework}": (each, framework) for each in nodes(platform) for framework in FRAMEWORKS}


@pytest.mark.parametrize("platform", DATABRICKS)
def test_a_cluster_on_databricks_is_the_one_that_python_defines(platform, newest, shared_copy):
    found = planned(newest, shared_copy, platform, "databricks", f'platform = "{platform}"')
    assert set(found) == set(combinations(platform))
    for key, (row, framework) in combinations(platform).items():
        computed = cluster.cluster(platform, row.shape, framework, workers=2)
        expected = databricks_spec.request_body(computed, name="spark-sidecar")
        assert {name: found[key][name] for name in expected} == expected, key


def test_a_cluster_on_dataproc_is_the_one_that_python_defines(newest, shared_copy):
    found = planned(newest, shared_copy, "dataproc", "dataproc", ON_DATAPROC)
    assert set(found) == set(combinations("dataproc"))
    for key, (row, framework) in combinations("dataproc").items():
        expected = cluster.cluster("dataproc", row.shape, framework, workers=2)
        (config,) = found[key]["cluster_config"]
        (worker,), (master,), (software,) = config["worker_config"], config["master_config"], config["software_config"]
        assert worker["machine_type"] == expected.node.node_type, key
        assert worker["num_instances"] == expected.workers
        assert master["machine_type"] == expected.driver_node_type
        assert software["image_version"] == expected.runtime.name
        env = {f"spark:spark.executorEnv.{name}": value for name, value in expected.env.items()}
        assert (
            software["override_properties"] == {f"spark:{name}": value for name, value in expected.conf.items()} | env
        )
        (machines,) = config["gce_cluster_config"]
        assert machines["metadata"]["framework"] == framework


@pytest.mark.parametrize("platform", platforms())
def test_with_rapids_the_conf_is_the_one_that_python_computes(platform, newest, shared_copy):
    row = next(each for each in nodes(platform) if each.gpus == 1)
    more = f'platform = "{platform}"' if platform in DATABRICKS else ON_DATAPROC
    folder = shared_copy / "terraform" / "examples" / f"rapids-{platform}"
    folder.mkdir()
    module = "databricks" if platform in DATABRICKS else "dataproc"
    (folder / "main.tf").write_text(f"""
module "cluster" {{
  source     = "../../modules/{module}"
  shape      = "{row.shape}"
  framework  = "triton"
  workers    = 3
  rapids     = true
  spark_conf = {{ "spark.executor.memory" = "1g", "spark.x" = "y" }}
  env        = {{ MORE = "1" }}
  {more}
}}
output "conf" {{ value = module.cluster.spark_conf }}
output "env" {{ value = module.cluster.env }}
""")
    newest.init(folder)
    outputs = newest.plan(folder)["planned_values"]["outputs"]
    ours = {"spark.executor.memory": "1g", "spark.x": "y"}
    expected = cluster.cluster(platform, row.shape, "triton", workers=3, rapids=True, conf=ours, env={"MORE": "1"})
    assert outputs["conf"]["value"] == expected.conf
    assert outputs["env"]["value"] == expected.env
