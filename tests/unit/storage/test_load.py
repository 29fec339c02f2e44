"""When a load takes over what another process has just loaded."""

from __future__ import annotations

import time

import pytest

from server_utils import local_model, save_model
from server_utils.storage.load import _reuse_if_newer_than


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """When a load of a model started, the folder that it gave, and its note."""
    monkeypatch.setenv("SPARK_SIDECAR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights").write_text("weights")
    url = save_model(tmp_path / "weights", tmp_path / "store" / "m")
    started_at = time.time_ns()
    path = local_model(url)
    (note,) = (tmp_path / "cache" / "locks").glob("url-*")
    return started_at, path, note


def test_a_load_that_asked_the_store_after_this_one_started_is_reused(loaded):
    started_at, path, note = loaded
    assert _reuse_if_newer_than(started_at, note) == path


def test_a_load_that_asked_before_is_not_reused_for_the_store_may_hold_another_model_now(loaded):
    _, _, note = loaded
    assert _reuse_if_newer_than(time.time_ns(), note) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": 1}'])
def test_a_note_that_was_never_written_or_is_half_is_no_answer(loaded, content):
    started_at, _, note = loaded
    note.write_text(content)
    assert _reuse_if_newer_than(started_at, note) is None
