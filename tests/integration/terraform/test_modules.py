"""Each module alone: its form, its own tests, and the promise that its documents and bounds are true."""

from __future__ import annotations

import json
import re

import pytest

from integration.terraform import modules
from integration.terraform.harness import OLDEST_TERRAFORM, SCHEMAS, Terraform

MODULES = modules.folders("modules")
EXAMPLES = modules.folders("examples")
REGISTRY = "registry.terraform.io/"
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
each_folder = pytest.mark.parametrize("folder", MODULES + EXAMPLES, ids=lambda path: path.name)


def hcl_tests(module):
    return "".join(path.read_text(encoding="utf-8") for path in module.glob("tests/*.tftest.hcl"))


def expected_failures(module):
    found = re.findall(r"expect_failures = \[([^\]]+)\]", hcl_tests(module))
    return [each for text in found for each in re.split(r",\s*", text)]


def versions(end):
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMAS / end).glob("*.json")]
    return {each["provider"].removeprefix(REGISTRY): each["provider_version"] for each in contents}


def test_the_hcl_is_formatted(command):
    Terraform(command).run(modules.TERRAFORM, "fmt", "-check", "-diff", "-recursive")


@each_module
def test_a_module_is_valid_and_passes_its_own_tests(module, each_terraform, shared_copy):
    folder = shared_copy / "terraform" / "modules" / module.name
    each_terraform.init(folder)
    printed = each_terraform.run(folder, "test")  # each of its runs begins as `validate` does
    runs = len(re.findall(r"^run ", hcl_tests(module), re.MULTILINE))
    assert f"Success! {runs} passed, 0 failed." in printed


@each_folder
def test_every_variable_and_output_is_described_and_typed(folder):
    for variable in modules.variables(folder):
        assert variable.description, variable.name
        assert variable.type, variable.name
    assert all(modules.outputs(folder).values())


@pytest.mark.parametrize(
    ("folder", "variable"), [("modules/databricks", "single_user_name"), ("examples/databricks", "principal")]
)
def test_module_and_example_say_alike_whom_a_cluster_can_be_dedicated_to(folder, variable):
    (said,) = (each.description for each in modules.variables(modules.TERRAFORM / folder) if each.name == variable)
    assert said.startswith("User, group or service principal (application id) that the cluster is dedicated to")


@each_module
def test_every_validation_and_precondition_has_a_test_that_breaks_it(module):
    broken = expected_failures(module)
    for variable in modules.variables(module):
        assert broken.count(f"var.{variable.name}") >= variable.validations, variable.name
    # That a shape has GPUs cannot be broken by a variable: the catalogue has no other nodes. test_refusals.py does it.
    by_the_catalogue = {"terraform_data.definition": 1}
    for address, count in modules.preconditions(module).items():
        assert broken.count(address) >= count - by_the_catalogue.get(address, 0), address


def tag_values(text):
    """The words that a module puts into the tag by which budgets count."""
    return set(re.findall(r'\bspark-sidecar"? *= *"(\w+)"', text))


def test_budgets_by_tag_count_whatever_the_modules_of_databricks_make():
    sources = {each.name: (each / "main.tf").read_text(encoding="utf-8") for each in MODULES}
    made = set().union(*(tag_values(text) for name, text in sources.items() if name.startswith("databricks")))
    assert made >= {"job", "pool"}
    for budget in ("aws-budget", "azure-budget", "databricks-budget"):
        (counted,) = re.findall(r"setunion\(local\.frameworks, (\[.*?\])\)", sources[budget])
        assert set(json.loads(counted)) == made


@each_module
def test_a_module_configures_no_provider(module):
    assert "provider" not in modules.blocks(module)


@each_module
def test_a_module_allows_the_versions_that_are_tested_and_the_majors_between(module):
    oldest, newest = versions("oldest"), versions("newest")
    for source, constraint in modules.providers(module).items():
        major = int(newest[source].split(".")[0])
        assert constraint == f">= {oldest[source]}, < {major + 1}.0.0"


@each_folder
def test_the_terraform_that_is_asked_for_is_the_oldest_that_is_tested(folder):
    (required,) = (each["required_version"] for each in modules.blocks(folder)["terraform"])
    assert required.strip('"') == ">= " + ".".join(str(each) for each in OLDEST_TERRAFORM)


@each_folder
def test_the_tables_of_the_readme_are_not_stale(folder):
    written = (folder / "README.md").read_text(encoding="utf-8")
    assert written == modules.readme(folder), "run: PYTHONPATH=tests .venv/bin/python -m integration.terraform.modules"


@each_module
def test_a_readme_says_what_who_applies_the_module_may_do(module):
    text = (module / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^\*\*(Roles?|Privileges|Permissions) of who applies it:\*\* .", text, re.MULTILINE)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short(folder):
    statements = re.findall(r"^\s*[^\s}#]", (folder / "main.tf").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(statements) <= 45


def test_terraform_sees_in_the_stub_exactly_the_committed_schema(each_terraform, tmp_path):
    sources = {name: each.address.removeprefix(REGISTRY) for name, each in each_terraform.providers.items()}
    body = "".join(f'{name} = {{ source = "{source}" }}\n' for name, source in sources.items())
    (tmp_path / "main.tf").write_text(f"terraform {{\nrequired_providers {{\n{body}}}\n}}\n")
    each_terraform.init(tmp_path)
    shown = json.loads(each_terraform.run(tmp_path, "providers", "schema", "-json"))["provider_schemas"]
    for provider in each_terraform.providers.values():
        seen = shown[provider.address]
        assert plain(seen["resource_schemas"]) == plain(provider.resources)
        assert plain(seen.get("data_source_schemas", {})) == plain(provider.data_sources)


def plain(schema):
    """Without what Terraform adds when it prints a schema."""
    if isinstance(schema, dict):
        return {key: plain(each) for key, each in schema.items() if not key.endswith("description_kind") and each != {}}
    return [plain(each) for each in schema] if isinstance(schema, list) else schema
