"""What a cluster is made of: the rendered file against its sources and schemas, and wrong questions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from server_utils.clusters import cluster, spark_conf
from server_utils.clusters.catalogue import nodes, own_node, platforms
from server_utils.clusters.options import Options
from server_utils.environments import builder
from server_utils.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
DATA = files("server_utils") / "data"


def read(name):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def test_what_is_rendered_is_not_stale():
    done = subprocess.run(
        [sys.executable, "scripts/render.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["platforms", "clusters"])
def test_a_file_of_facts_fits_its_schema(name):
    schema = read(f"{name}.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(read(f"{name}.json"))


@pytest.mark.parametrize("name", ["platforms.json", "platforms.schema.json", "clusters.json", "clusters.schema.json"])
def test_a_file_of_facts_has_sorted_keys_and_two_spaces(name):
    assert (DATA / name).read_text(encoding="utf-8") == json.dumps(read(name), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("change", [{"cuda": "13"}, {"kind": "emr"}, {"python": "2.7"}, {"driver": "535"}])
def test_the_schema_refuses_a_wrong_runtime(change):
    content = read("platforms.json")
    content["runtimes"][0].update(change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, read("platforms.schema.json"))


def test_the_rendered_file_is_small_enough_to_read():
    assert len((DATA / "clusters.json").read_bytes()) < 300_000


@pytest.mark.parametrize("framework", cluster.frameworks())
@pytest.mark.parametrize("platform", platforms())
def test_the_rendered_file_says_what_python_says(platform, framework):
    for row in (row for row in nodes(platform) if not row.spot_only or platform != "dataproc"):
        check_rendered(read("clusters.json")["platforms"][platform], row, framework)


def allowed(row):
    """What makes a shape acceptable that is not everywhere to be had."""
    return {"allow_undocumented": True, "options": Options(spot=row.spot_only and row.platform != "dataproc")}


def check_rendered(rendered, row, framework):
    if refused := rendered["frameworks"][framework]["refused"]:
        with pytest.raises(ConfigurationError, match=re.escape(refused)):
            cluster.cluster(row.platform, row, framework, **allowed(row))
        return
    found = cluster.cluster(row.platform, row, framework, workers=3, **allowed(row))
    counted = rendered["worker_count_conf"]
    assert rendered["shapes"][row.shape]["node_type"] == found.node.node_type
    assert rendered["shapes"][row.shape]["conf"] | ({counted: "3"} if counted else {}) == found.conf
    assert rendered["frameworks"][framework]["env"] | rendered["shapes"][row.shape]["env"] == found.env
    unset = rendered["unset_properties"]
    assert rendered["shapes"][row.shape]["properties"] | unset == found.properties
    assert (rendered["driver_node_type"], rendered["runtime"]) == (found.driver_node_type, found.runtime.name)
    if row.platform == "dataproc":
        shared, own = rendered["nodes"]["optional_components"], rendered["frameworks"][framework]["optional_components"]
        assert found.platform["optional_components"] == [*shared, *own]


def test_nim_gets_docker_on_dataproc_and_a_clear_refusal_on_databricks():
    found = cluster.cluster("dataproc", "l4x1", "nim")
    assert found.platform["optional_components"] == ["JUPYTER", "DOCKER"]
    assert found.env["FRAMEWORK"] == "nim"
    assert cluster.driver_warning(found) is None
    with pytest.raises(ConfigurationError, match=r"Databricks has no container engine.*Use VLLMServerManager"):
        cluster.cluster("databricks-aws", "a10x1", "nim")


def test_rapids_is_rendered_where_it_runs():
    for row in nodes():
        shape = read("clusters.json")["platforms"][row.platform]["shapes"][row.shape]
        if row.gpus > 1:
            assert shape["rapids_conf"] is None
        else:
            assert shape["conf"] | shape["rapids_conf"] == spark_conf.recommended(row, rapids=True)


@pytest.mark.parametrize("platform", platforms())
def test_the_default_runtime_of_a_platform_has_a_gpu_driver_and_is_supported_for_months(platform):
    found = cluster.cluster(platform, nodes(platform)[0].shape, "triton").runtime
    assert found.cuda is not None
    assert found.until > "2027-03"


@pytest.mark.parametrize("framework", ["tf", "torch", "triton", "vllm"])
def test_nothing_is_in_doubt_where_the_runtime_has_the_cuda_of_the_lock(framework):
    assert cluster.driver_warning(cluster.cluster("databricks-aws", "a10x1", framework)) is None


def test_a_lock_for_a_newer_cuda_than_the_runtime_states_is_said_before_anybody_pays():
    warning = cluster.driver_warning(cluster.cluster("databricks-aws", "a10x1", "vllm-latest"))
    assert "vllm-latest-cuda.txt is built for CUDA 13, which needs driver 580.65.06 or newer" in warning
    assert "17.3.x-gpu-ml-scala2.13 states CUDA 12.6" in warning


def test_an_image_without_a_driver_is_in_doubt():
    warning = cluster.driver_warning(cluster.cluster("dataproc", "l4x1", "triton", runtime="2.3-ubuntu22"))
    assert "2.3-ubuntu22 brings no driver (Google's install_gpu_driver.sh builds 590.48.01 by default)" in warning


def test_a_driver_is_a_fact_with_a_source_or_a_question_for_a_live_cluster():
    asked = {each["key"]: each for each in read("live-checks.json")["questions"]}["gpu-driver"]
    assert "platforms.json" in asked["change"]
    for runtime in read("platforms.json")["runtimes"]:
        known = runtime["driver"] or runtime.get("driver_of_init_action")
        assert ("the live check gpu-driver asks" in runtime["source"]) == (known is None), runtime["name"]


def test_a_gpu_that_the_driver_may_not_know_is_warned_about():
    warning = cluster.driver_warning(cluster.cluster("databricks-aws", "rtxpro6000x8", "vllm", allow_undocumented=True))
    assert (
        "the GPU RTX PRO 6000 needs driver 570 or newer, and 17.3.x-gpu-ml-scala2.13 has a driver that nobody has"
        in warning
    )
    older = cluster.cluster(
        "databricks-aws", "h200x8", "vllm", runtime="16.4.x-gpu-ml-scala2.12", allow_undocumented=True
    )
    assert "the GPU H200 needs driver 550 or newer, and 16.4.x-gpu-ml-scala2.12 has driver 535.161.07" in (
        cluster.driver_warning(older)
    )


def test_slices_of_gpus_exchange_nothing_directly():
    assert cluster.cluster("databricks-azure", "a10x2", "vllm").env["NCCL_P2P_DISABLE"] == "1"
    assert "NCCL_P2P_DISABLE" not in cluster.cluster("databricks-azure", "a10x1", "vllm").env
    assert "NCCL_P2P_DISABLE" not in cluster.cluster("databricks-azure", "a100-80x2", "vllm").env


def test_on_dataproc_the_plugins_of_the_image_are_unset_unless_somebody_wants_plugins():
    assert cluster.cluster("dataproc", "l4x1", "vllm").properties["spark:spark.plugins"] == ""
    assert "spark:spark.plugins" not in cluster.cluster("dataproc", "l4x1", "vllm", rapids=True).properties
    mine = cluster.cluster("dataproc", "l4x1", "vllm", conf={"spark.plugins": "a.B"})
    assert "spark:spark.plugins" not in mine.properties
    assert "spark:spark.plugins" not in cluster.cluster("databricks-aws", "a10x1", "vllm").properties


def test_a_node_of_ones_own_gets_the_settings_of_one_in_the_catalogue_with_the_same_numbers():
    own = own_node("dataproc", "g2-standard-24", gpus=2, vcpus=24, ram_gib=96, gpu_memory_gib=24)
    ours, theirs = (cluster.cluster("dataproc", each, "vllm") for each in (own, "l4x2"))
    assert (ours.conf, ours.properties, ours.env) == (theirs.conf, theirs.properties, theirs.env)


def test_a_runtime_may_be_named():
    found = cluster.cluster("databricks-aws", "a10x1", "vllm", runtime="15.4.x-gpu-ml-scala2.12")
    assert (found.runtime.spark, found.runtime.python) == ("3.5", "3.11")


def test_what_the_user_gives_is_merged_last():
    found = cluster.cluster("dataproc", "l4x1", "tf", conf={"spark.executor.cores": "4"}, env={"FRAMEWORK": "torch"})
    assert (found.conf["spark.executor.cores"], found.env["FRAMEWORK"]) == ("4", "torch")
    assert found.env["TF_GPU_ALLOCATOR"] == "cuda_malloc_async"


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("aws", "a10x1", "vllm"), {}, "no platform is called 'aws'; did you mean databricks-aws.*dataproc"),
        (("dataproc", "a10x1", "vllm"), {}, "no shape on dataproc is called 'a10x1'.*l4x8"),
        (("dataproc", "l4x1", "vlm"), {}, "no framework is called 'vlm'; did you mean vllm.*triton, vllm, vllm-latest"),
        (("dataproc", "l4x1", "vllm"), {"runtime": "2.1"}, "no runtime of dataproc is called '2.1'.*2.3-ml-ubuntu22"),
        (("dataproc", "l4x1", "vllm"), {"workers": -1}, "workers is -1; give a whole number, 0 for a single node"),
        (("dataproc", "l4x1", "vllm"), {"workers": 1}, "Dataproc takes 2 or more, or 0 for a single node"),
        (
            ("dataproc", "h100x1", "vllm"),
            {},
            "sold as spot only, and Dataproc's primary workers are never spot; choose",
        ),
        (("databricks-gcp", "h100x1", "vllm"), {}, "sold as spot only; set spot, or take another shape"),
        (("dataproc", "h100x8", "vllm"), {}, "do not name a3-highgpu-8g .*; allow undocumented node types to try it"),
        (("databricks-aws", "a10x1", "vllm"), {"workers": 0, "rapids": True}, "leave rapids out"),
        (("databricks-aws", "a10x1", "vllm"), {"workers": 0, "options": Options(spot=True)}, "leave spot out"),
        (("dataproc", "l4x2", "vllm"), {"rapids": True}, "one GPU per executor"),
        (("dataproc", "l4x1", "vllm"), {"options": Options(local_ssds=2)}, "g2-standard-12 takes 0 or 1; give one of"),
        (("dataproc", "l4x8", "vllm"), {"options": Options(local_ssds=4)}, "g2-standard-96 takes 0 or 8; give one of"),
        (
            ("dataproc", "a100-80x1", "vllm"),
            {"options": Options(local_ssds=1), "allow_undocumented": True},
            "local_ssds is 1, but a2-ultragpu-1g brings its own; leave it out",
        ),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(arguments, options, said):
    with pytest.raises(ConfigurationError, match=said):
        cluster.cluster(*arguments, **options)


def test_the_frameworks_are_listed_in_one_place():
    """Terraform, the init scripts and the command line take them from the facts; a list of one's own would be stale."""
    names = set(cluster.frameworks())
    assert set(read("clusters.json")["platforms"]["dataproc"]["frameworks"]) == names
    environments = {cluster.environment(name) for name in names} - {None}
    assert {builder.folder(name).name for name in environments} == names - {"nim"}
    files = [*ROOT.glob("terraform/**/*.tf"), *ROOT.glob("init-scripts/*.sh"), *ROOT.glob("server_utils/cli/*.py")]
    for file in files:
        listed = re.findall(r"\bvllm-latest\b|\btransformers\b", file.read_text(encoding="utf-8"))
        assert not listed, f"{file.relative_to(ROOT)} lists frameworks"
