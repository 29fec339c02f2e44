"""The rules that no schema has: each has a source, names what is there, and refuses something."""

from __future__ import annotations

import json

import pytest

from integration.terraform import rules
from integration.terraform.harness import SCHEMAS
from integration.terraform.stub_provider import UNKNOWN

NEWEST = [json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMAS / "newest").glob("*.json")]
RESOURCES = {name: schema for each in NEWEST for name, schema in each["resource_schemas"].items()}
DATA = {f"data.{name}": schema for each in NEWEST for name, schema in each["data_source_schemas"].items()}
each_rule = pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: f"{rule.kind}-{rule.paths[0]}")


def part(block, path):
    """What the schema says of a path: of an attribute or a block; None if there is no such thing."""
    name, _, rest = path.partition(".")
    blocks = block.get("block_types", {})
    if rest:
        return part(blocks[name]["block"], rest) if name in blocks else None
    return block.get("attributes", {}).get(name) or blocks.get(name)


def config(rule, value):
    """A configuration with one value at all paths of a rule."""
    made = {}
    for path in rule.paths:
        *outer, last = path.split(".")
        inner = made
        for name in outer:
            inner = inner.setdefault(name, [{}])[0]
        inner[last] = value(part(RESOURCES[rule.kind]["block"], path))
    return made


def odd(number):
    """For each type, a value that hardly anybody wants."""
    texts = {"string": "?", "number": number}

    def value(what):
        kind = what.get("type", ["block"])
        return texts[kind] if isinstance(kind, str) else ["?"] if kind[0] == "set" else {"x": "y"}

    return value


@each_rule
def test_a_rule_says_where_it_was_read(rule):
    assert rule.source.startswith(("github.com/", "docs.", "databricks-sdk "))


@each_rule
def test_a_rule_is_about_what_the_schema_has(rule):
    assert all(part(RESOURCES[rule.kind]["block"], path) for path in rule.paths)


@each_rule
def test_a_rule_refuses_something(rule):
    configs = [{}, *(config(rule, odd(number)) for number in (-1, 0, 3, 10**9))]
    assert any(not rule.holds(each) for each in configs)


@each_rule
def test_a_rule_waits_for_what_is_not_known_yet(rule):
    assert rule.says not in rules.violations(rule.kind, config(rule, lambda _: UNKNOWN))


@pytest.mark.parametrize("kind", rules.FORCE_NEW)
def test_what_makes_a_new_resource_is_in_the_schema(kind):
    assert all(part(RESOURCES[kind]["block"], path) for path in rules.FORCE_NEW[kind])


@pytest.mark.parametrize("kind", rules.COMPUTED)
def test_what_is_computed_is_computed_in_the_schema(kind):
    attributes = (RESOURCES | DATA)[kind]["block"]["attributes"]
    assert all(attributes[name].get("computed") for name in rules.COMPUTED[kind])
