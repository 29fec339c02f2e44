"""The cache: its cap, what it holds, and what it does about those who have tampered with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from support.fakes import ROOT, run_python

from integration.storage.places import contents, make_model
from server_utils import ConfigurationError, StorageError, local_model, save_model
from server_utils.storage import cache


@pytest.fixture
def saved(tmp_path):
    return save_model(make_model(tmp_path / "m"), tmp_path / "store" / "m")


def test_a_model_that_is_here_is_not_fetched_again(saved, tmp_path):
    path = local_model(saved)
    before = (path / "config.json").stat().st_ino
    assert (local_model(f"file://{saved}") / "config.json").stat().st_ino == before


def test_a_file_that_somebody_has_cut_off_is_fetched_again(saved, tmp_path):
    path = local_model(saved)
    (path / "config.json").write_bytes(b"{")
    assert contents(local_model(saved)) == contents(tmp_path / "m")


def test_a_model_that_somebody_has_removed_is_fetched_again(saved, tmp_path):
    shutil.rmtree(local_model(saved).parent)
    assert contents(local_model(saved)) == contents(tmp_path / "m")


def test_a_model_larger_than_the_cap_is_refused_with_what_to_do(saved, monkeypatch, own_cache):
    monkeypatch.setenv("SPARK_SIDECAR_CACHE_GB", "0.000000001")
    with pytest.raises(StorageError, match=r"does not fit into .*Raise SPARK_SIDECAR_CACHE_GB"):
        local_model(saved)


def test_a_cap_that_is_no_number_is_refused(saved, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_CACHE_GB", "200GB")
    with pytest.raises(ConfigurationError, match="must be a number of gigabytes, such as 200; it is '200GB'"):
        local_model(saved)


def test_a_cache_of_somebody_else_is_refused(saved, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("/")
    monkeypatch.setenv("SPARK_SIDECAR_CACHE", str(tmp_path / "link"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="must be a folder of this user; it is lrwx"):
        local_model(saved)


def test_the_cache_is_open_to_its_user_only(saved, own_cache):
    local_model(saved)
    assert own_cache.stat().st_mode & 0o077 == 0


def test_a_model_is_held_by_a_path(saved):
    path = local_model(saved)
    assert cache.hold_of(path)
    shutil.rmtree(path.parent)
    assert not cache.hold_of(path)


def test_the_least_recently_used_model_makes_room(tmp_path, monkeypatch, own_cache):
    monkeypatch.setenv("SPARK_SIDECAR_CACHE_GB", "0.0025")  # room for two
    urls = {}
    for name in ("first", "second", "third"):
        (tmp_path / name).write_bytes(os.urandom(1 << 20))
        urls[name] = save_model(tmp_path / name, tmp_path / "store" / name)
    load = "import sys; from server_utils import local_model; local_model(sys.argv[1])"
    for name in ("first", "second", "first", "third"):  # each in a process that ends: nothing stays in use
        assert run_python(load, urls[name]).wait(timeout=60) == 0
    here = sorted(path.name for path in own_cache.glob("*/model/*"))
    assert here == ["first", "third"]


FULL = """
import os, sys
os.environ["SPARK_SIDECAR_CACHE"] = sys.argv[1] + "/cache"
from server_utils import StorageError, local_model
from server_utils.storage import cache
cache.free_space = lambda *_: None  # the disk fills up after it was measured
try:
    local_model(sys.argv[2])
except StorageError as error:
    print(error)
print([name for name in os.listdir(sys.argv[1] + "/cache") if name != "locks"])
"""


def test_a_disk_that_fills_up_is_one_error_and_the_half_is_removed(tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(6 << 20))
    url = save_model(tmp_path / "big", tmp_path / "store" / "big")
    (tmp_path / "small disk").mkdir()
    (tmp_path / "full.py").write_text(FULL)
    mount = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" "$3" "$1" "$4"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*command[:4], "true"], check=False).returncode:
        pytest.skip("this machine gives no user namespaces, in which a small disk could be mounted")
    arguments = [str(tmp_path / "small disk"), sys.executable, str(tmp_path / "full.py"), url]
    said = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    error, left = said.stdout.splitlines()
    assert "no space left in" in error
    assert "set SPARK_SIDECAR_CACHE to a folder on a larger disk" in error
    assert left == "[]", said
