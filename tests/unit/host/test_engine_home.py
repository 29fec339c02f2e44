"""The home folder of servers: kept where it can be written to, else a private one that outlives them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from support.fakes import NOBODY, as_nobody, can_mount, mounted_noexec

from server_utils.host import engine_home
from server_utils.servers.lifecycle import ensure

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
SHOW = """
import json, os
from server_utils.host import engine_home
print(json.dumps(engine_home.variables(os.environ)))
"""
DOCTOR = "from server_utils.node.checks import home_folder; print(home_folder())"


@pytest.fixture
def models(open_folder):
    """Where another user's models go: on a disk that this user may write to."""
    disk = open_folder / "disk"
    disk.mkdir()
    disk.chmod(0o1777)
    return disk / "models"


def of_nobody(**variables):
    return json.loads(as_nobody(SHOW, **variables))


def test_a_home_that_can_be_written_to_stays(tmp_path):
    found = engine_home.variables({"HOME": str(tmp_path), "HF_HOME": "/models/hub", "XDG_CACHE_HOME": ""})

    assert found == {"TORCHINDUCTOR_CACHE_DIR": f"{tmp_path}/.cache/torchinductor"}
    assert list(tmp_path.iterdir()) == []


def test_what_torch_compiles_is_kept_where_the_user_says(tmp_path):
    given = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}

    assert engine_home.variables(given)["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "caches" / "torchinductor")
    chosen = engine_home.variables(given | {"TORCHINDUCTOR_CACHE_DIR": "/fast/compiled"})
    assert chosen == {"TORCHINDUCTOR_CACHE_DIR": "/fast/compiled"}


@needs_root
@pytest.mark.parametrize("home", ["/home/", "/", "/nowhere", "", "/dev/null"])
def test_a_home_that_cannot_be_written_to_is_replaced_by_a_private_one_beside_the_models(models, home):
    """YARN's default is /home/; a container may have none."""
    found = of_nobody(HOME=home, SPARK_SIDECAR_CACHE=str(models))

    own = Path(f"{models}-home")
    assert found["HOME"] == str(own)
    assert found["TORCHINDUCTOR_CACHE_DIR"] == f"{own}/.cache/torchinductor"
    assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (NOBODY, 0o700)


@needs_root
def test_a_second_start_has_the_same_home(models):
    first = of_nobody(HOME="/home/", SPARK_SIDECAR_CACHE=str(models))
    (Path(first["HOME"]) / "compiled").touch()

    assert of_nobody(HOME="/home/", SPARK_SIDECAR_CACHE=str(models)) == first
    assert (Path(first["HOME"]) / "compiled").exists()


@needs_root
def test_a_users_own_places_stay_as_long_as_they_can_be_written_to(models):
    kept = {"XDG_DATA_HOME": str(models), "HF_HOME": "/hub", "VLLM_CACHE_ROOT": "/compiled"}

    found = of_nobody(HOME="/home/", XDG_CACHE_HOME="/root/.cache", SPARK_SIDECAR_CACHE=str(models), **kept)

    assert not set(found) & set(kept)
    assert found["XDG_CACHE_HOME"] == f"{models}-home/.cache"


@needs_root
def test_without_a_place_beside_the_models_the_home_is_beside_the_records(open_folder):
    found = of_nobody(HOME="/home/", SPARK_SIDECAR_CACHE=str(open_folder / "models"), TMPDIR=str(open_folder))

    assert found["HOME"].endswith(f"/spark-sidecar-{NOBODY}-home")
    assert Path(found["HOME"]).stat().st_uid == NOBODY
    shutil.rmtree(found["HOME"])


@needs_root
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_that_somebody_else_laid_there_is_not_used(models, kind):
    """Engines run what they find in it."""
    laid = Path(f"{models}-home")
    if kind == "folder":
        laid.mkdir(mode=0o777)
        laid.chmod(0o777)
    else:
        laid.symlink_to(models.parent)

    found = of_nobody(HOME="/home/", SPARK_SIDECAR_CACHE=str(models))

    assert found["HOME"] != str(laid)
    assert Path(found["HOME"]).stat().st_uid == NOBODY
    shutil.rmtree(found["HOME"])


@pytest.mark.skipif(not can_mount(), reason="needs to be allowed to mount a disk")
def test_a_disk_that_runs_no_programs_is_the_last_resort(models, open_folder):
    """Triton's JIT loads what it has compiled."""
    given = {"HOME": "/dev/null", "SPARK_SIDECAR_CACHE": str(models), "TMPDIR": str(open_folder)}

    found = json.loads(mounted_noexec(models.parent, SHOW, **given))

    assert Path(found["HOME"]) == open_folder / f"spark-sidecar-{os.getuid()}-home"


@needs_root
def test_a_user_whom_the_system_does_not_know_gets_a_name(models):
    assert of_nobody(SPARK_SIDECAR_CACHE=str(models))["USER"] == str(NOBODY)
    assert "USER" not in of_nobody(SPARK_SIDECAR_CACHE=str(models), LOGNAME="yarn")


@needs_root
def test_the_doctor_says_what_home_is_and_what_servers_use_instead(models):
    found = as_nobody(DOCTOR, HOME="/home/", SPARK_SIDECAR_CACHE=str(models))

    assert f"HOME is /home/, which user {NOBODY} may not write to: servers use {models}-home instead" in found
    assert "level='ok'" in found
    assert not Path(f"{models}-home").exists()  # looking makes nothing
    assert f"found='{models.parent}'" in as_nobody(DOCTOR, HOME=str(models.parent))


def test_a_server_gets_these_variables_and_those_of_its_launch_win(make_launch, owner, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("SPARK_SIDECAR_CACHE", str(tmp_path / "models"))

    server = ensure(make_launch(env={"TORCHINDUCTOR_CACHE_DIR": "/mine"}), owner, timeout_s=30)

    environ = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    assert f"HOME={tmp_path}/models-home" in environ
    assert "TORCHINDUCTOR_CACHE_DIR=/mine" in environ
