"""File locks between processes, and atomic writes."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest
from support.fakes import run_python

from server_utils.host import files

HOLD = """
import sys
from pathlib import Path
from server_utils.host import files
with files.exclusive_lock(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def other(lock):
    """Another process, which holds the exclusive lock until its input ends."""
    process = run_python(HOLD, str(lock), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    yield process
    process.communicate()


def test_a_lock_that_another_process_holds_is_an_error_when_the_time_is_over(lock, other):
    with (
        pytest.raises(TimeoutError, match=r"another process has held .*lock for 0\.1 s"),
        files.exclusive_lock(lock, timeout_s=0.1),
    ):
        pass
    assert files.try_exclusive_lock(lock) is None
    with files.exclusive_lock_if_free(lock) as held:
        assert not held
    assert other.poll() is None


def test_a_lock_is_free_again_when_the_process_that_held_it_has_ended(lock, other):
    other.kill()
    other.wait()
    with files.exclusive_lock(lock, timeout_s=10), files.exclusive_lock_if_free(lock) as held:
        assert not held  # this very process has it, by another descriptor
    with files.exclusive_lock_if_free(lock) as held:
        assert held


def test_shared_locks_go_together_and_keep_an_exclusive_one_away(lock):
    holders = [files.shared_lock(lock) for _ in range(2)]
    assert files.try_exclusive_lock(lock) is None
    for holder in holders:
        os.close(holder)
    os.close(files.try_exclusive_lock(lock))


def test_a_folder_can_be_locked_as_well(tmp_path):
    holder = files.shared_lock(tmp_path)
    assert files.try_exclusive_lock(tmp_path) is None
    os.close(holder)


def test_an_atomic_write_is_private_and_leaves_nothing_beside(tmp_path):
    files.write_atomically(tmp_path / "a", b"old")
    files.write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sizes_of_files_are_told_as_disks_and_stores_count_them():
    assert [files.file_size(count) for count in (0, 64_000_000, 999_000_000, 14_200_000_000)] == [
        "0.0 MB",
        "64.0 MB",
        "999.0 MB",
        "14.2 GB",
    ]


def test_a_replacement_whose_block_fails_leaves_the_old_file_and_nothing_beside(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(UnicodeEncodeError), files.replacement(tmp_path / "a") as beside:
        beside.write_text("new \ud800")  # which makes the file, and then cannot write this
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
