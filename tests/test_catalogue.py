"""The catalogue against its schema, its own rule, and wrong questions."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from server_utils.catalogue import Node, node, nodes, platforms
from server_utils.errors import ConfigurationError

DATA = files("server_utils") / "data"
# Google sells sixteen A100 with 96 vCPUs and nothing else: the shape has no other node type.
THIN_BY_NECESSITY = {"a2-megagpu-16g"}


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
    model, _, gpus = row.shape.rpartition("x")
    usual = {"a10": 24, "a100": 40, "h100": 80, "l4": 24, "l40s": 48}
    name, _, memory = model.partition("-")
    assert int(gpus) == row.gpus
    assert int(memory or usual[name]) == row.gpu_memory_gib
    assert row.gpu.removesuffix("G").lower() == name


@pytest.mark.parametrize("row", nodes(), ids=lambda row: f"{row.platform}-{row.shape}")
def test_a_recommended_node_has_enough_cpu_and_memory_for_its_gpus(row: Node) -> None:
    assert row.vcpus >= 12 * row.gpus or row.node_type in THIN_BY_NECESSITY
    assert row.ram_gib >= 1.5 * row.gpus * row.gpu_memory_gib


def test_databricks_and_dataproc_agree_on_google_machines() -> None:
    def sizes(platform: str) -> dict[str, tuple[int, int, int]]:
        return {each.node_type: (each.gpus, each.vcpus, each.ram_gib) for each in nodes(platform)}

    assert sizes("databricks-gcp") == sizes("dataproc")


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
    with pytest.raises(ConfigurationError, match=r"'aws'.*Did you mean databricks-aws\?.*dataproc"):
        nodes("aws")


def test_a_shape_that_is_not_offered_lists_what_is_and_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"azure is called 'a100x1'.*Did you mean .*a100-80x1.*h100x8"):
        node("databricks-azure", "a100x1")


@pytest.mark.parametrize("shape", ["", "?", "a10x1 ", "A" * 10_000])
def test_nonsense_is_an_error_that_lists_what_is_offered(shape: str) -> None:
    with pytest.raises(ConfigurationError, match="l4x8"):
        node("dataproc", shape)
