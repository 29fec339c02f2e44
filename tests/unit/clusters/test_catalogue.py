"""The catalogue against its schema, its own rule, and wrong questions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from server_utils.clusters.catalogue import Node, node, nodes, own_node, platforms
from server_utils.errors import ConfigurationError

DATA = files("server_utils") / "data"
RECOMMENDED = [row for row in nodes() if row.recommended]
# The shape has no other node type: sixteen A100 with 96 vCPUs, eight B200 with 2048 GiB.
THIN_BY_NECESSITY = {"a2-megagpu-16g", "p6-b200.48xlarge"}


def read(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def test_the_catalogue_fits_its_schema() -> None:
    schema = read("gpus.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(read("gpus.json"))


@pytest.mark.parametrize("change", [{"gpus": 0}, {"platform": "emr"}, {"shape": "a10"}, {"vcpus": "64"}, {"price": 1}])
def test_the_schema_refuses_a_wrong_row(change: dict[str, object]) -> None:
    content = read("gpus.json")
    content["nodes"][0].update(change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, read("gpus.schema.json"))


@pytest.mark.parametrize("name", ["gpus.json", "gpus.schema.json"])
def test_the_file_has_sorted_keys_and_two_spaces(name: str) -> None:
    assert (DATA / name).read_text(encoding="utf-8") == json.dumps(read(name), indent=2, sort_keys=True) + "\n"


def test_a_platform_has_each_shape_once() -> None:
    keys = [(each.platform, each.shape) for each in nodes()]
    assert len(keys) == len(set(keys))


def test_the_schema_and_the_rows_name_the_same_platforms() -> None:
    assert platforms() == read("gpus.schema.json")["properties"]["nodes"]["items"]["properties"]["platform"]["enum"]


@pytest.mark.parametrize("row", nodes(), ids=lambda row: f"{row.platform}-{row.shape}")
def test_a_shape_says_what_the_row_has(row: Node) -> None:
    model, _, rest = row.shape.rpartition("x")
    gpus, _, mark = rest.partition("-")
    usual = {"a10": 24, "a100": 40, "h100": 80, "l4": 24, "l40s": 48}
    usual |= {"b200": 180, "h200": 141, "rtxpro4500": 32, "rtxpro6000": 96, "t4": 16}
    name, _, memory = model.partition("-")
    assert int(gpus) == row.gpus
    assert int(memory or usual[name]) == row.gpu_memory_gib
    assert row.gpu.removesuffix("G").lower().replace(" ", "") == name
    assert mark in {"", "small", f"{row.vcpus}cpu", f"{row.ram_gib}gib"}
    assert row.recommended == (mark == "")


def test_another_size_differs_from_the_recommended_one_in_what_its_mark_names() -> None:
    marked = [row for row in nodes() if not row.recommended and not row.small]
    assert len(marked) > 15
    for row in marked:
        usual = node(row.platform, row.shape.rpartition("-")[0])
        assert (row.gpu, row.gpus) == (usual.gpu, usual.gpus)
        assert (row.vcpus == usual.vcpus) == row.shape.endswith("gib")


@pytest.mark.parametrize("row", RECOMMENDED, ids=lambda row: f"{row.platform}-{row.shape}")
def test_a_recommended_node_has_enough_cpu_and_memory_for_its_gpus(row: Node) -> None:
    enough = row.vcpus >= 12 * row.gpus and row.ram_gib >= 1.5 * row.gpus * row.gpu_memory_gib
    assert enough != (row.node_type in THIN_BY_NECESSITY)


def test_databricks_and_dataproc_agree_on_google_machines() -> None:
    def sizes(platform: str) -> dict[str, tuple[int, int, int]]:
        # Only Dataproc attaches GPUs to machines that have none of their own.
        rows = [each for each in nodes(platform) if each.accelerator is None]
        return {each.node_type: (each.gpus, each.vcpus, each.ram_gib) for each in rows}

    # With 16 GiB, YARN's memory would be less than Python and a server need.
    assert sizes("databricks-gcp") == sizes("dataproc") | {"g2-standard-4": (1, 4, 16)}


def test_a_shape_is_looked_up_on_its_platform() -> None:
    assert node("databricks-aws", "a10x1").node_type == "g5.4xlarge"
    assert node("databricks-azure", "a10x1").node_type == "Standard_NV36ads_A10_v5"
    assert node("dataproc", "l4x2").node_type == "g2-standard-24"


def test_the_two_a100_are_told_apart() -> None:
    assert node("databricks-aws", "a100x8").gpu_memory_gib == 40
    assert node("databricks-aws", "a100-80x8").gpu_memory_gib == 80


def test_nodes_without_a_platform_are_those_of_all_platforms() -> None:
    assert nodes() == [each for platform in platforms() for each in nodes(platform)]


def test_an_unknown_platform_lists_what_there_is_and_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"'aws'.*did you mean databricks-aws\?.*dataproc"):
        nodes("aws")


def test_a_shape_that_is_not_offered_lists_what_is_and_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"azure is called 'a100x1'.*did you mean .*a100-80x1.*h100x8"):
        node("databricks-azure", "a100x1")


@pytest.mark.parametrize("shape", ["", "?", "a10x1 ", "A" * 10_000])
def test_nonsense_is_an_error_that_lists_what_is_offered(shape: str) -> None:
    with pytest.raises(ConfigurationError, match="l4x8"):
        node("dataproc", shape)


# Every size on EC2 of the families that Databricks documents, but bare metal: 1 is xlarge, 2 is 2xlarge. As EC2's API
# gives them (github.com/aws/karpenter-provider-aws, website/content/en/preview/reference/instance-types.md).
AMAZONS_SIZES = {
    "g4dn": {1, 2, 4, 8, 12, 16},
    **{family: {1, 2, 4, 8, 12, 16, 24, 48} for family in ("g5", "g6", "g6e")},
}


@pytest.mark.parametrize("family", AMAZONS_SIZES)
def test_amazons_families_of_gpu_nodes_that_databricks_documents_are_there_in_every_size(family: str) -> None:
    ours = [each.node_type.split(".") for each in nodes("databricks-aws")]
    sizes = {int(size.removesuffix("xlarge") or 1) for name, size in ours if name == family}
    assert sizes == AMAZONS_SIZES[family]


def test_of_what_a_platform_does_not_document_there_is_the_recommended_size_only() -> None:
    assert all(row.recommended for row in nodes() if not row.documented)


# Ours -> (file, kind of disagreement) in a catalogue that others keep. Everything else must agree.
CATALOGUES = {
    "databricks-aws": "emr",
    "databricks-azure": "databricks_azure",
    "databricks-gcp": "dataproc",
    "dataproc": "dataproc",
}
NOT_IN_THEIRS = {
    "g6e.4xlarge": "their EMR catalogue has no G6e family",
    "g6e.12xlarge": "their EMR catalogue has no G6e family",
    "g6e.48xlarge": "their EMR catalogue has no G6e family",
    "p4de.24xlarge": "their EMR catalogue has P4d only",
    "Standard_ND96asr_v4": "their Azure catalogue has no ND A100 v4 family",
    "Standard_NC40ads_H100_v5": "their Azure catalogue has no NC H100 v5 family",
    "Standard_NC80adis_H100_v5": "their Azure catalogue has no NC H100 v5 family",
    "g6e.xlarge": "their EMR catalogue has no G6e family",
    **{f"g6e.{size}xlarge": "their EMR catalogue has no G6e family" for size in (2, 8, 16, 24)},
    **{f"g7.{size}xlarge": "their EMR catalogue has no G7 family" for size in (4, 12, 24, 48)},
    **{f"g7e.{size}xlarge": "their EMR catalogue has no G7e family" for size in (8, 12, 24, 48)},
    "p6-b200.48xlarge": "their EMR catalogue has no P6 family",
    "p5.4xlarge": "their EMR catalogue has the P5 with eight GPUs only",
    "p5en.48xlarge": "their EMR catalogue has no P5en family",
    "Standard_ND96amsr_A100_v4": "their Azure catalogue has no ND A100 v4 family",
    "Standard_ND96isr_H200_v5": "their Azure catalogue has no ND H200 v5 family",
    "g4-standard-48": "their Dataproc catalogue has no G4 family",
    "g4-standard-96": "their Dataproc catalogue has no G4 family",
    "g4-standard-192": "their Dataproc catalogue has no G4 family",
    "g4-standard-384": "their Dataproc catalogue has no G4 family",
    "a3-ultragpu-8g": "their Dataproc catalogue has the A3 High and Mega only",
    "a4-highgpu-8g": "their Dataproc catalogue has no A4 family",
    "a3-highgpu-1g": "their Dataproc catalogue has the A3 with eight GPUs only",
    "a3-highgpu-2g": "their Dataproc catalogue has the A3 with eight GPUs only",
    "a3-highgpu-4g": "their Dataproc catalogue has the A3 with eight GPUs only",
}
WRONG_IN_THEIRS = {
    # The node is an HGX board, which has eight; Azure's page of the series says so too.
    ("Standard_ND96isr_H100_v5", "gpus"): 12,
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Platform -> node type -> row, from the resources of spark-rapids-user-tools: fetched by hash, not installed."""
    folder = tmp_path_factory.mktemp("user-tools")
    lock = DATA / "requirements" / "user-tools.txt"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(lock)]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return {
            platform: json.loads(wheel.read(f"spark_rapids_pytools/resources/{name}-instance-catalog.json"))
            for platform, name in CATALOGUES.items()
        }


def test_the_catalogue_agrees_with_one_that_others_keep(others: dict[str, Any]) -> None:
    compared = 0
    for row in nodes():
        theirs = others[row.platform].get(row.node_type)
        if row.node_type in NOT_IN_THEIRS:
            assert theirs is None, f"{row.node_type} is in their catalogue now: take it out of NOT_IN_THEIRS"
            continue
        # A machine without GPUs of its own takes one of several models, and one of several counts.
        gpus = next(each for each in theirs["GpuInfo"] if row.accelerator is None or each["Name"] == row.gpu)
        expected = WRONG_IN_THEIRS.get((row.node_type, "gpus"), row.gpus)
        assert (theirs["VCpuCount"], theirs["MemoryInMB"] / 1024) == (row.vcpus, row.ram_gib)
        assert expected in gpus["Count"] if row.accelerator else gpus["Count"] == [expected]
        # Their Azure rows do not say which GPU it is.
        assert gpus.get("Name", row.gpu) == row.gpu, row.node_type
        compared += 1
    assert compared > 45
    assert {each.node_type for each in nodes()} >= set(NOT_IN_THEIRS) | {name for name, _ in WRONG_IN_THEIRS}


def test_a_platform_has_a_cheap_node_for_a_first_try() -> None:
    for platform, facts in read("platforms.json")["platforms"].items():
        first = node(platform, facts["first_shape"])
        assert (first.small, first.gpus, first.documented, first.spot_only) == (True, 1, True, False)
        assert first.vcpus == min(each.vcpus for each in nodes(platform) if each.small)
        assert first.vcpus <= 8


def test_every_gpu_says_whether_it_computes_in_bfloat16_and_which_driver_knows_it() -> None:
    assert {row.gpu for row in nodes() if not row.bfloat16} == {"T4"}
    assert {row.gpu: row.oldest_driver for row in nodes()} == {
        gpu: int(facts["driver"]) for gpu, facts in read("gpus.json")["gpus"].items()
    }


@pytest.mark.parametrize("row", nodes(), ids=lambda row: f"{row.platform}-{row.shape}")
def test_the_quota_of_a_node_names_what_it_takes(row: Node) -> None:
    units = row.gpus if "GPUS" in row.quota else row.vcpus
    assert str(units) in row.quota.replace(";", "").split()
    assert ("GPUS_ALL_REGIONS" in row.quota) == (row.platform in {"databricks-gcp", "dataproc"})


@pytest.mark.parametrize(
    "row", [each for each in nodes() if each.spot_only], ids=lambda row: f"{row.platform}-{row.shape}"
)
def test_what_is_sold_as_spot_only_takes_the_quota_of_spot(row: Node) -> None:
    assert "PREEMPTIBLE_NVIDIA_" in row.quota or "GPUS_PER_GPU_FAMILY" in row.quota
    assert not re.search(r"(?<!PREEMPTIBLE_)NVIDIA_\w+_GPUS", row.quota)


def test_a_node_of_ones_own_is_looked_up_nowhere() -> None:
    own = own_node("databricks-aws", "g9.huge", gpus=4, vcpus=64, ram_gib=512, gpu_memory_gib=128)
    assert (own.shape, own.node_type, own.gpus, own.bfloat16) == ("own", "g9.huge", 4, True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"platform": "aws"}, "no platform is called 'aws'"),
        ({"node_type": " "}, "the node type is empty; give the name"),
        ({"gpus": 3}, "gpus is 3; nodes have 1, 2, 4, 8, 16 GPUs"),
        ({"gpus": 0}, "gpus is 0; give the GPUs of one node, at least 1"),
        ({"vcpus": 1}, "vcpus is 1; give the vCPUs of the whole node, at least 2"),
        ({"ram_gib": 4}, "ram_gib is 4; give the memory of the whole node in GiB, at least 14"),
        ({"gpu_memory_gib": 0}, "gpu_memory_gib is 0; give the memory of one GPU in GiB, at least 8"),
        ({"accelerator": "nvidia-l4"}, "attached on dataproc only, not on databricks-aws; leave it out"),
    ],
)
def test_a_node_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    given = {"platform": "databricks-aws", "node_type": "g9", "gpus": 1, "vcpus": 8, "ram_gib": 64}
    with pytest.raises(ConfigurationError, match=said):
        own_node(**({**given, "gpu_memory_gib": 24} | wrong))


def test_the_driver_nodes_are_in_a_catalogue_that_others_keep(others: dict[str, Any]) -> None:
    for platform, facts in read("platforms.json")["platforms"].items():
        row = others[platform][facts["driver_node_type"]]
        assert row["VCpuCount"] >= 8
        assert row["MemoryInMB"] >= 32 * 1024
        # A GPU runtime of Databricks starts on GPU nodes only, its driver included.
        assert bool(row.get("GpuInfo")) == (platform != "dataproc")


def test_several_gpus_say_whether_nvlink_joins_them() -> None:
    without = {row.gpu for row in nodes() if row.peers == "pcie"}
    assert without == {"A10", "A10G", "L4", "L40S", "RTX PRO 4500", "RTX PRO 6000", "T4"}
    assert {row.gpu for row in nodes() if row.peers == "nvlink"} == {"A100", "B200", "H100", "H200"}
    assert all((row.gpus > 1 and row.gpu in without) == (row.peers == "pcie") for row in nodes())
    assert not any(row.peers for row in nodes() if row.gpus == 1)
    # PCIe cards, which may have bridges: a question of the live checks.
    unknown = {row.node_type for row in nodes() if row.gpus > 1 and row.peers is None}
    assert unknown == {"Standard_NC48ads_A100_v4", "Standard_NC96ads_A100_v4", "Standard_NC80adis_H100_v5"}
