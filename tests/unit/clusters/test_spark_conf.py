"""The one formula over the whole catalogue: properties that must hold on every node."""

from __future__ import annotations

import math

import pytest

from server_utils.clusters import spark_conf
from server_utils.clusters.catalogue import node, nodes, own_node
from server_utils.errors import ConfigurationError

every_node = pytest.mark.parametrize("row", nodes(), ids=lambda row: f"{row.platform}-{row.shape}")
ONE_GPU = [row for row in nodes() if row.gpus == 1]
SMALL = [row for row in nodes() if row.small or row.vcpus < 8]
SEVERAL_GPUS = [row for row in nodes() if row.gpus > 1]


def gib(text):
    assert text.endswith("g")
    return int(text[:-1])


@every_node
def test_settings_are_plain_text_under_sparks_own_prefix(row):
    conf = spark_conf.recommended(row)
    assert all(key.startswith("spark.") and isinstance(value, str) and value for key, value in conf.items())


@every_node
def test_each_setting_stands_once_and_has_its_reason_in_one_sentence(row):
    settings = spark_conf.explained(row)
    assert len({each.key for each in settings}) == len(settings)
    for each in settings:
        assert len(each.why) > 20
        assert not each.why.endswith(".")
        assert each.why[0].islower() or each.why.split()[0] in {"YARN", "Spark's"}


@every_node
def test_all_cores_are_the_executors_but_the_one_of_yarns_master(row):
    conf = spark_conf.recommended(row)
    assert int(conf["spark.executor.cores"]) == row.vcpus - (1 if row.platform == "dataproc" else 0)
    assert int(conf["spark.executor.resource.gpu.amount"]) == row.gpus


@pytest.mark.parametrize("row", [row for row in nodes() if row not in SMALL], ids=lambda row: row.node_type)
def test_an_executor_owns_all_gpus_and_fits_into_its_node(row):
    conf = spark_conf.recommended(row)
    assert int(conf["spark.executor.resource.gpu.amount"]) == row.gpus
    assert 0.9 * row.vcpus <= int(conf["spark.executor.cores"]) <= row.vcpus


@every_node
def test_cores_and_not_gpus_limit_how_many_tasks_run(row):
    """Spark's own rule: each GPU has floor(1 / share) slots (ResourceUtils); a share above a half is refused by 3.4."""
    conf = spark_conf.recommended(row)
    share = float(conf["spark.task.resource.gpu.amount"])
    assert 0 < share <= 0.5
    slots = row.gpus * math.floor(1 / share)
    assert slots >= int(conf["spark.executor.cores"])


@pytest.mark.parametrize("row", [row for row in nodes() if row not in SMALL], ids=lambda row: row.node_type)
def test_the_heap_leaves_most_of_the_memory_to_python_and_the_server(row):
    heap = gib(spark_conf.recommended(row)["spark.executor.memory"])
    assert 8 <= heap <= 64
    assert row.ram_gib - heap >= 0.7 * row.ram_gib


@pytest.mark.parametrize("row", SMALL, ids=lambda row: f"{row.platform}-{row.shape}")
def test_on_a_small_node_too_the_heap_leaves_most_of_the_memory(row):
    heap = gib(spark_conf.recommended(row)["spark.executor.memory"])
    assert 4 <= heap <= 8
    assert row.ram_gib - heap >= 0.7 * row.ram_gib


@pytest.mark.parametrize("single_node", [False, True])
@pytest.mark.parametrize("row", nodes("dataproc"), ids=lambda row: row.shape)
def test_yarn_has_what_is_asked_for_and_the_system_has_the_rest(row, single_node):
    conf = spark_conf.recommended(row, single_node=single_node)
    properties = spark_conf.properties(row, single_node=single_node)
    has = int(properties["yarn:yarn.nodemanager.resource.memory-mb"])
    assert properties["yarn:yarn.scheduler.maximum-allocation-mb"] == str(has)
    # The application's master takes 1 GiB of one node.
    asked = gib(conf["spark.executor.memory"]) + gib(conf["spark.executor.memoryOverhead"])
    assert asked * 1024 + 1024 <= has
    assert has <= (row.ram_gib - (12 if single_node else 8)) * 1024


def test_a_node_that_leaves_yarn_no_memory_for_an_executor_is_refused():
    numbers = {"gpus": 1, "vcpus": 4, "gpu_memory_gib": 16}
    small, enough = (own_node("dataproc", "n1-custom", ram_gib=gib, **numbers) for gib in (15, 16))
    with pytest.raises(ConfigurationError, match=r"ram_gib of n1-custom is 15, .* take a node with 16 GiB or more"):
        spark_conf.recommended(small, single_node=True)
    assert spark_conf.recommended(small)["spark.executor.memory"] == "2g"
    asked = spark_conf.recommended(enough, single_node=True)
    assert (asked["spark.executor.memory"], asked["spark.executor.memoryOverhead"]) == ("1g", "1g")


def test_yarn_counts_no_server_as_its_executors():
    properties = spark_conf.properties(node("dataproc", "l4x1"))
    assert {properties[f"yarn:yarn.nodemanager.{kind}-check-enabled"] for kind in ("pmem", "vmem")} == {"false"}
    assert spark_conf.properties(node("databricks-aws", "a10x1")) == {}


def test_a_single_node_on_databricks_asks_for_no_executors():
    conf = spark_conf.recommended(node("databricks-aws", "a10x1-small"), single_node=True)
    assert conf["spark.master"] == "local[*]"
    assert not any(key.startswith(("spark.executor.", "spark.task.")) for key in conf)


@pytest.mark.parametrize("row", nodes("dataproc"), ids=lambda row: row.shape)
def test_yarn_can_give_what_is_asked_for_beside_its_own_master(row):
    conf = spark_conf.recommended(row)
    asked = gib(conf["spark.executor.memory"]) + gib(conf["spark.executor.memoryOverhead"])
    assert asked + 1 <= 0.8 * row.ram_gib
    assert int(conf["spark.executor.cores"]) + 1 <= row.vcpus
    # The server loads a model through pinned memory and Python holds batches: more than the heap is outside of it.
    assert gib(conf["spark.executor.memoryOverhead"]) > gib(conf["spark.executor.memory"])


@pytest.mark.parametrize("row", [row for row in nodes() if row.platform != "dataproc"], ids=lambda row: row.node_type)
def test_a_heap_on_databricks_is_within_what_the_platform_allows(row):
    """Databricks refuses heaps above (97 % of the memory, less 4.8 GB) x 0.8."""
    assert gib(spark_conf.recommended(row)["spark.executor.memory"]) <= (row.ram_gib * 0.97 - 4.8) * 0.8


@pytest.mark.parametrize("row", ONE_GPU, ids=lambda row: f"{row.platform}-{row.shape}")
def test_rapids_adds_to_the_settings_and_leaves_most_of_the_gpu_to_the_server(row):
    plain, conf = spark_conf.recommended(row), spark_conf.recommended(row, rapids=True)
    assert plain.items() <= conf.items()
    assert conf["spark.plugins"] == "com.nvidia.spark.SQLPlugin"
    shares = [float(conf[f"spark.rapids.memory.gpu.{name}Fraction"]) for name in ("minAlloc", "alloc", "maxAlloc")]
    assert shares == sorted(shares)
    assert shares[-1] <= 0.25


@pytest.mark.parametrize("row", SEVERAL_GPUS, ids=lambda row: f"{row.platform}-{row.shape}")
def test_rapids_is_refused_with_several_gpus_per_executor(row):
    with pytest.raises(ConfigurationError, match=rf"one GPU per executor, .*{row.node_type}.* has {row.gpus}"):
        spark_conf.recommended(row, rapids=True)


def test_what_the_user_overrides_is_merged_last():
    row = node("dataproc", "l4x1")
    conf = spark_conf.recommended(row, overrides={"spark.executor.memory": "6g", "spark.mine": "1"})
    assert conf == spark_conf.recommended(row) | {"spark.executor.memory": "6g", "spark.mine": "1"}
