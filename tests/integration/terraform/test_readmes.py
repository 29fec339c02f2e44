"""Every HCL block of every README is planned, as it stands there."""

from __future__ import annotations

import re

import pytest

from integration.terraform import modules
from integration.terraform.harness import REPOSITORY

READMES = [
    REPOSITORY / "README.md",
    *sorted(REPOSITORY.glob("csp/**/README.md")),
    *sorted(modules.TERRAFORM.rglob("README.md")),
]
# Where the documents say the repository is; a test has it here.
ADDRESS = re.compile(
    r'"git::https://git\.example\.com/spark-sidecar\.git//terraform/modules/([\w-]+)(?:\?ref=[\w.]+)?"'
)
BLOCKS = [
    (path.relative_to(REPOSITORY), number, text)
    for path in READMES
    for number, text in enumerate(
        re.findall(r"^```hcl\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
]


def test_every_module_is_shown_at_work():
    shown = {name for _, _, text in BLOCKS for name in ADDRESS.findall(text)}
    assert shown >= {each.name for each in modules.folders("modules")}


@pytest.mark.parametrize(("readme", "number", "text"), BLOCKS, ids=lambda value: str(value)[:50].split("\n")[0])
def test_a_block_of_a_readme_is_planned(readme, number, text, each_end, shared_copy):
    folder = shared_copy / "terraform" / "readmes" / f"{str(readme.parent).replace('/', '-')}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.tf").write_text(ADDRESS.sub(r'"../../modules/\1"', text), encoding="utf-8")
    assert "git.example.com" not in (folder / "main.tf").read_text(encoding="utf-8")
    each_end.init(folder)
    assert each_end.plan(folder)["resource_changes"]
