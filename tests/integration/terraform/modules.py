"""What our modules and examples declare, read from their HCL, and the tables of it in their READMEs.

    PYTHONPATH=tests .venv/bin/python -m integration.terraform.modules

writes the tables again, between the two comments that each README has for them.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2

TERRAFORM = Path(__file__).parents[3] / "terraform"
_BEGIN, _END = "<!-- made by tests/integration/terraform/modules.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Variable:
    """A variable; default is None where it must be given, else its HCL."""

    name: str
    description: str
    type: str
    default: str | None
    validations: int


def folders(kind: str) -> list[Path]:
    """The folders of all "modules" or all "examples"."""
    return sorted(each.parent for each in (TERRAFORM / kind).glob("*/main.tf"))


def variables(folder: Path) -> list[Variable]:
    """The variables of a module: those that must be given first, else in their order."""
    found = [_variable(*_named(each)) for each in _read(folder / "variables.tf").get("variable", [])]
    return sorted(found, key=lambda each: each.default is not None)


def outputs(folder: Path) -> dict[str, str]:
    """Name -> description."""
    found = [_named(each) for each in _read(folder / "outputs.tf").get("output", [])]
    return {name: _plain(body.get("description", '""')) for name, body in found}


def providers(folder: Path) -> dict[str, str]:
    """Source of each provider -> its version constraint."""
    required = _read(folder / "versions.tf")["terraform"][0]["required_providers"][0]
    bodies = [each for each in required.values() if isinstance(each, dict)]
    return {_plain(each["source"]): _plain(each["version"]) for each in bodies}


def blocks(folder: Path) -> dict[str, list[Any]]:
    """All blocks of all files, by kind: resource, data, provider, …"""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.tf")):
        for kind, each in _read(path).items():
            found.setdefault(kind, []).extend(each if isinstance(each, list) else [each])
    return found


def preconditions(folder: Path) -> dict[str, int]:
    """Address of each resource with preconditions -> how many it has."""
    found = {}
    for kind, resources in (_named(each) for each in blocks(folder).get("resource", [])):
        for name, body in (_named({key: each}) for key, each in resources.items() if isinstance(each, dict)):
            count = sum(len(each.get("precondition", [])) for each in body.get("lifecycle", []))
            found |= {f"{kind}.{name}": count} if count else {}
    return found


def readme(folder: Path) -> str:
    """The README as it should be: the one that is there, with new tables."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    assert begin, f"{folder.name}/README.md has no line {_BEGIN!r}"
    assert end, f"{folder.name}/README.md has no line {_END!r}"
    return head + begin + _tables(folder) + end + tail


def _tables(folder: Path) -> str:
    inputs = [["variable", "type", "default", "what it is"], ["---"] * 4]
    for each in variables(folder):
        default = "must be given" if each.default is None else f"`{each.default}`"
        inputs.append([f"`{each.name}`", f"`{each.type}`", default, each.description])
    results = [["output", "what it is"], ["---"] * 2]
    results += [[f"`{name}`", description] for name, description in outputs(folder).items()]
    return "\n" + _lines(inputs) + "\n" + _lines(results) + "\n"


def _lines(rows: list[list[str]]) -> str:
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


@functools.cache  # many tests look at the same few
def _read(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as file:
        return hcl2.load(file)


def _named(block: dict[str, Any]) -> tuple[str, Any]:
    (name, body), *_ = [each for each in block.items() if each[0] != "__is_block__"]
    return _plain(name), body


def _variable(name: str, body: dict[str, Any]) -> Variable:
    default = body.get("default", "")
    shown = None if "default" not in body else default if isinstance(default, str) else json.dumps(default)
    kind = _expression(body.get("type", ""))
    return Variable(name, _plain(body.get("description", '""')), kind, shown, len(body.get("validation", [])))


def _plain(text: str) -> str:
    # hcl2 keeps the quotes of a text, because those of an expression's parts matter.
    return json.loads(text) if text.startswith('"') else text


def _expression(text: str) -> str:
    return text.removeprefix("${").removesuffix("}") if text.startswith("${") else text


def main() -> None:
    """Write all READMEs."""
    for folder in folders("modules") + folders("examples"):
        (folder / "README.md").write_text(readme(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
