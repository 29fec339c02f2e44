"""A node whose own Python has no shared library, and no network: it takes the Python of its bundle."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from integration.init_scripts.conftest import ROOT, VOLUME

BASE = Path(sys._base_executable).resolve()
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
NAME = f"cpython-{MINOR}.{sys.version_info.micro}-linux-x86_64-gnu"
LIBRARY = Path(sysconfig.get_config_var("LIBDIR")) / f"libpython{MINOR}.so.1.0"
CHOOSE = f"""
from pathlib import Path
from server_utils.environments import interpreters
from server_utils.node import steps
from server_utils.node.node import Node
node = Node("triton", Path("{VOLUME}"), Path("/opt/spark-sidecar"), "")
node.log.parent.mkdir(parents=True, exist_ok=True)
for _ in range(2):  # the second time there is nothing to do
    steps.python(node)
chosen = interpreters.choose()
print(chosen.python, chosen.libpython)
"""


@pytest.fixture
def bundle(tmp_path):
    """A bundle that has this machine's Python, laid out as one that runs in any folder."""
    library = next(
        (each for each in (LIBRARY, Path("/usr/lib/x86_64-linux-gnu") / LIBRARY.name) if each.exists()), None
    )
    if library is None:
        pytest.skip("this Python has no shared library to put into a bundle")
    whole = tmp_path / NAME
    (whole / "bin").mkdir(parents=True)
    shutil.copy2(BASE, whole / "bin" / f"python{MINOR}")
    ignored = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "test", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), whole / "lib" / f"python{MINOR}", ignore=ignored)
    shutil.copy2(library, whole / "lib" / library.name)
    (tmp_path / "bundle").mkdir()
    with tarfile.open(tmp_path / "bundle" / f"{NAME}.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(whole, NAME)
    return tmp_path / "bundle", library


def test_a_python_without_its_library_is_replaced_by_the_one_of_the_bundle(bundle, tree):
    source, library = bundle
    node = tree(source)
    assert node.run("bash", "-c", f"rm -f {library.parent}/libpython{MINOR}*")[0] == 0
    code, out, err = node.run(str(BASE), "-c", CHOOSE, PYTHONPATH=str(ROOT), SPARK_SIDECAR_HOME="/opt/spark-sidecar")
    assert code == 0, err
    folder = f"/opt/spark-sidecar/pythons/{NAME}"
    assert out.split() == [f"{folder}/bin/python{MINOR}", f"{folder}/lib/{library.name}"]
    assert node.read("/opt/spark-sidecar/log/init.log").count(f"unpacked {folder}") == 1
