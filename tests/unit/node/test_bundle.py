"""Bundles: what they are made of is read from the locks; the download itself is in tests/integration/init_scripts."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from importlib.metadata import version

import pytest

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.node import bundle

LOCK = """\
always==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
old==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:bb
old==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
elsewhere==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:dd
"""


def flattened(python, tmp_path):
    lock = tmp_path / "made-up.txt"
    lock.write_text(LOCK)
    return bundle._flattened(lock, python, tmp_path / "flat.txt")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Wheels that the made-up lock can be resolved from."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, release in (("always", "1.0"), ("old", "2.0"), ("old", "3.0"), ("elsewhere", "1.0")):
        empty_wheel(folder, name, release)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return folder


def empty_wheel(folder, name, release):
    info = f"{name}-{release}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{release}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize(("python", "kept", "left"), [("3.11", "2.0", "cc"), ("3.12", "3.0", "bb")])
def test_a_lock_is_read_for_the_clusters_python_and_keeps_its_hashes(tmp_path, python, kept, left):
    text = flattened(python, tmp_path)
    assert f"old=={kept} \\\n" in text
    assert "sha256:aa" in text
    assert "sha256:ab" in text
    assert left not in text
    assert "elsewhere" not in text
    assert ";" not in text


def test_a_place_that_nothing_can_be_put_at_is_refused_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    for to in ("ftp://host/a", "hf://org/name"):
        with pytest.raises(ConfigurationError):
            bundle.build("triton", to)
    assert not (tmp_path / "wheelhouses").exists()


def test_wrong_names_and_pythons_are_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(ConfigurationError, match="no environment named 'tritn'"):
        bundle.build("tritn", tmp_path / "a")
    with pytest.raises(ConfigurationError, match=r"the platforms have Python 3\.11 and 3\.12, not 3\.9"):
        bundle.build("triton", tmp_path / "a", python="3.9")
    with pytest.raises(ConfigurationError, match=r"there is no torch for the CPU on 3\.12"):
        bundle.build("triton", tmp_path / "a", python="3.12", cpu=True)
    assert not (tmp_path / "a").exists()


def test_a_framework_whose_servers_are_containers_adds_no_packages():
    assert bundle._lock("nim", "3.11", cpu=False) is None


def test_a_bundle_whose_packages_cannot_be_had_is_not_whole(tmp_path, monkeypatch):
    """It had its sums before; while it is filled, and after a failure, it has none."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / bundle.SUMS).touch()
    given = tmp_path / "spark_sidecar-0-py3-none-any.whl"
    given.touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EnvironmentMissingError, match=r"pip could not fetch what uv\.txt names"):
        bundle.build("tf", tmp_path / "bundle", wheel=given)
    assert not (tmp_path / "bundle" / bundle.SUMS).exists()


def test_our_wheel_is_built_from_the_source_and_replaces_an_older_one(tmp_path):
    (tmp_path / "spark_sidecar-0.0.1-py3-none-any.whl").touch()
    wheel = bundle._own_wheel(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == [wheel.name]
    assert version("spark-sidecar") in wheel.name


def test_the_sums_are_those_that_sha256sum_checks(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    bundle._write_sums(tmp_path, [tmp_path / "a"])
    assert (tmp_path / bundle.SUMS).read_text() == f"{hashlib.sha256(b'content').hexdigest()}  a\n"


# In place of uv, where Pythons cannot be fetched: makes what uv makes, a folder of the version and a link to it.
UV = """#!/bin/bash
[[ "$1 $2 $6" == "python install --install-dir" ]] || exit 2
[[ -z "$NO_NETWORK" ]] || { echo "error: dns error" >&2; exit 1; }
mkdir -p "$7/cpython-3.12.9-linux-x86_64-gnu/bin" && touch "$7/cpython-3.12.9-linux-x86_64-gnu/bin/python3.12"
ln -s cpython-3.12.9-linux-x86_64-gnu "$7/cpython-3.12-linux-x86_64-gnu"
"""


@pytest.fixture
def uv_in_place(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(UV)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("uv_in_place")
def test_a_bundle_has_one_python_of_a_version_and_its_sum(tmp_path):
    to = tmp_path / "bundle"
    to.mkdir()
    for old in ("cpython-3.12.1-linux-x86_64-gnu.tar.gz", "cpython-3.11.1-linux-x86_64-gnu.tar.gz"):
        (to / old).touch()
    bundle._fetch_python(to, "3.12")
    archive = to / "cpython-3.12.9-linux-x86_64-gnu.tar.gz"
    assert sorted(to.iterdir()) == [to / "cpython-3.11.1-linux-x86_64-gnu.tar.gz", archive]
    with tarfile.open(archive) as packed:
        assert "cpython-3.12.9-linux-x86_64-gnu/bin/python3.12" in packed.getnames()


@pytest.mark.usefixtures("uv_in_place")
def test_a_python_that_cannot_be_fetched_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_NETWORK", "1")
    with pytest.raises(
        EnvironmentMissingError, match=r"could not fetch Python 3\.12 for the bundle \(leave it out where"
    ):
        bundle._fetch_python(tmp_path, "3.12")
    assert not list(tmp_path.glob("cpython-*"))
