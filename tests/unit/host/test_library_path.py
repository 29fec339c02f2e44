"""LD_LIBRARY_PATH of a server: nothing of the image's in front of its environment but the driver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server_utils.environments.libpython import NAME, candidates, version_of
from server_utils.host import library_path
from server_utils.node.checks import check_node
from server_utils.servers.lifecycle import ensure


def folder_with(tmp_path, *names):
    folder = tmp_path / names[0]
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return str(folder)


def test_a_server_sees_libpython_and_nothing_that_is_beside_it(tmp_path):
    image = Path(folder_with(tmp_path, "libpython3.12.so.1.0", "libcudnn.so.9", "libstdc++.so.6"))
    private = tmp_path / "private"

    found = library_path.variables({}, image / "libpython3.12.so.1.0", private)

    assert found == {"LD_LIBRARY_PATH": str(private)}
    assert [path.name for path in private.iterdir()] == ["libpython3.12.so.1.0"]
    assert (private / "libpython3.12.so.1.0").resolve() == image / "libpython3.12.so.1.0"


def test_a_library_of_a_rebuilt_environment_replaces_the_link(tmp_path):
    first, second = (Path(folder_with(tmp_path / name, NAME)) / NAME for name in made(tmp_path, "a", "b"))
    for library in (first, second):
        library_path.variables({}, library, tmp_path / "private")

    assert (tmp_path / "private" / NAME).resolve() == second


def made(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return names


@pytest.mark.parametrize("name", ["libcudart.so.12", "libcudnn.so.8.9.2", "libnvJitLink.so", "libnccl.so.2"])
def test_a_cuda_of_the_image_is_left_out_and_the_driver_and_others_stay(tmp_path, name):
    cuda = folder_with(tmp_path, name)
    driver = folder_with(tmp_path, "libcuda.so.1", "libcudart.so.12")
    other = folder_with(tmp_path, "libfoo.so.1")
    environ = {"LD_LIBRARY_PATH": f"{cuda}:{driver}::{other}:/nowhere"}

    assert library_path.variables(environ, None, tmp_path) == {"LD_LIBRARY_PATH": f"{driver}:{other}:/nowhere"}
    assert library_path.cuda_folders(environ) == [cuda]


def test_nothing_is_set_where_there_is_nothing_to_say(tmp_path):
    assert library_path.variables({}, None, tmp_path) == {}
    assert library_path.variables({"LD_LIBRARY_PATH": ""}, None, tmp_path) == {"LD_LIBRARY_PATH": ""}


def test_the_doctor_names_the_folders_that_are_left_out(tmp_path, monkeypatch):
    cuda = folder_with(tmp_path, "libcudnn.so.9")
    monkeypatch.setenv("LD_LIBRARY_PATH", cuda)

    (found,) = [each for each in check_node() if each.name == "CUDA of the image"]
    assert (found.level, found.found.split()[0]) == ("ok", cuda)


@pytest.mark.skipif(not candidates(), reason="this Python has no shared library")
def test_a_server_that_links_libpython_finds_the_one_of_its_interpreter_in_its_own_folder(make_launch, owner, tmp_path):
    version = ".".join(map(str, sys.version_info[:3]))
    if version not in map(version_of, candidates()):
        pytest.skip("this Python has no shared library of its version")
    server = ensure(make_launch(needs_libpython=True), owner, timeout_s=30)

    environ = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    (first,) = [line.removeprefix("LD_LIBRARY_PATH=").split(":")[0] for line in environ if "LD_LIBRARY" in line]
    assert Path(first) == Path(server.log).parent / "libpython"
    assert [path.name for path in Path(first).iterdir()] == [NAME]
    assert version_of(Path(first) / NAME) == version
