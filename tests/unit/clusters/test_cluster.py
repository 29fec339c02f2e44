"""What a cluster is made of: the rendered file against its sources and schemas, and wrong questions."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from server_utils.clusters import cluster, spark_conf
from server_utils.clusters.catalogue import nodes, platforms
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
    for row in nodes(platform):
        check_rendered(read("clusters.json")["platforms"][platform], row, framework)


def check_rendered(rendered, row, framework):
    found = cluster.cluster(row.platform, row.shape, framework, workers=3)
    counted = rendered["worker_count_conf"]
    assert rendered["shapes"][row.shape]["node_type"] == found.node.node_type
    assert rendered["shapes"][row.shape]["conf"] | ({counted: "3"} if counted else {}) == found.conf
    assert rendered["frameworks"][framework]["env"] == found.env
    assert (rendered["driver_node_type"], rendered["runtime"]) == (found.driver_node_type, found.runtime.name)


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
    assert cluster.doubt(cluster.cluster("databricks-aws", "a10x1", framework)) is None


def test_a_lock_for_a_newer_cuda_than_the_runtime_states_is_said_before_anybody_pays():
    doubt = cluster.doubt(cluster.cluster("databricks-aws", "a10x1", "vllm-latest"))
    assert "vllm-latest-cuda.txt is built for CUDA 13, which needs driver 580.65.06 or newer" in doubt
    assert "17.3.x-gpu-ml-scala2.13 states CUDA 12.6" in doubt


def test_an_image_without_a_driver_is_in_doubt():
    doubt = cluster.doubt(cluster.cluster("dataproc", "l4x1", "triton", runtime="2.3-ubuntu22"))
    assert "2.3-ubuntu22 brings no driver" in doubt


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
        (("aws", "a10x1", "vllm"), {}, "no platform is called 'aws'. Did you mean databricks-aws.*dataproc"),
        (("dataproc", "a10x1", "vllm"), {}, "no shape on dataproc is called 'a10x1'.*l4x8"),
        (("dataproc", "l4x1", "vlm"), {}, "no framework is called 'vlm'. Did you mean vllm.*triton, vllm, vllm-latest"),
        (("dataproc", "l4x1", "vllm"), {"runtime": "2.1"}, "no runtime of dataproc is called '2.1'.*2.3-ml-ubuntu22"),
        (("dataproc", "l4x1", "vllm"), {"workers": 0}, "at least one worker, not 0"),
        (("dataproc", "l4x2", "vllm"), {"rapids": True}, "one GPU per executor"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(arguments, options, said):
    with pytest.raises(ConfigurationError, match=said):
        cluster.cluster(*arguments, **options)
