"""The committed schemas against the wheels they were made from. Fetches 370 MB."""

from __future__ import annotations

import subprocess

import pytest

from integration.terraform import refresh_schemas

NO_NETWORK = ("No matching distribution", "NewConnectionError", "ConnectionError", "Temporary failure")


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_the_schemas_are_those_of_the_pinned_wheels(end):
    try:
        expected = refresh_schemas.render(end)
    except subprocess.CalledProcessError as error:
        if any(each in error.stderr for each in NO_NETWORK):
            pytest.skip(f"the wheels of schemas/{end}/wheels.txt cannot be fetched: {error.stderr[-200:]}")
        raise
    assert set(expected) == set((refresh_schemas.SCHEMAS / end).glob("*.json"))
    for path, text in expected.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is stale: run integration.terraform.refresh_schemas"


def test_the_schemas_are_few_and_name_their_licence():
    paths = list(refresh_schemas.SCHEMAS.glob("*/*.json"))
    assert len(paths) == 10
    assert sum(path.stat().st_size for path in paths) < 350_000
    assert all("Mozilla Public License 2.0" in path.read_text(encoding="utf-8")[:300] for path in paths)
