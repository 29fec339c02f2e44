"""How Spark's Python finds our package: links beside the platform's packages, of which none is replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINK = """
import sys
from pathlib import Path
from server_utils.node import spark_python
from server_utils.node.node import Node
home = Path(sys.argv[1])
spark_python.link(Node("triton", home, home, ""))
"""
IMPORT = "import sys; sys.path += sys.argv[1:]; import {0}; print({0}.__file__)"


def distribution(folder, name, version, *files):
    """A package as installers leave it. files: paths of its modules."""
    info = f"{name}-{version}.dist-info"
    for file in (*files, f"{info}/METADATA"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    (folder / info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / info / "RECORD").write_text("".join(f"{file},,\n" for file in (*files, f"{info}/METADATA")))


class Node:
    """A Python in Spark's place, and the folder that our package was installed into."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True)
        self.python = folder / "python" / "bin" / "python"
        (self.site,) = (folder / "python").glob("lib/python*/site-packages")
        self.home = folder / "home"
        self.lib = self.home / "lib"
        distribution(self.lib, "spark_sidecar", "2", "server_utils/__init__.py")
        distribution(self.lib, "filelock", "4", "filelock/__init__.py")
        distribution(self.lib, "zope.event", "6", "zope/event/__init__.py")
        distribution(self.lib, "one_file", "1", "one_file.py", "bin/one-file", "__pycache__/one_file.pyc")

    def link(self):
        subprocess.run([self.python, "-c", LINK, self.home], env={"PYTHONPATH": str(ROOT)}, check=True)

    def imported(self, name):
        """Where a notebook gets a module from: no .pth file is read."""
        command = [self.python, "-I", "-S", "-c", IMPORT.format(name), self.site]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Path(done.stdout.strip()) if done.returncode == 0 else done.stderr.splitlines()[-1]

    def links(self):
        return {path.relative_to(self.site).as_posix() for path in self.site.rglob("*") if path.is_symlink()}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_what_the_platform_does_not_have_is_found_without_a_pth_file(node):
    assert node.imported("server_utils") == "ModuleNotFoundError: No module named 'server_utils'"

    node.link()

    for name in ("server_utils", "filelock", "zope.event", "one_file"):
        assert node.imported(name).resolve().is_relative_to(node.lib)
    assert not (node.site / "bin").exists()
    assert (node.site / "spark-sidecar.pth").read_text() == f"{node.lib}\n"


def test_a_package_of_the_platform_is_neither_replaced_nor_doubled(node):
    distribution(node.site, "filelock", "3", "filelock/__init__.py")

    node.link()

    assert node.imported("filelock") == node.site / "filelock" / "__init__.py"
    assert not (node.site / "filelock-4.dist-info").exists()


def test_a_package_in_several_folders_gets_the_part_that_it_lacks(node):
    distribution(node.site, "zope.interface", "8", "zope/interface/__init__.py")

    node.link()

    assert node.imported("zope.event").resolve().is_relative_to(node.lib)
    assert not (node.site / "zope" / "interface").is_symlink()


def test_a_second_run_links_the_same_and_an_upgrade_takes_away_what_is_no_longer_there(node):
    node.link()
    before = node.links()
    node.link()
    assert node.links() == before

    for path in (node.lib / "one_file-1.dist-info").iterdir():
        path.unlink()
    (node.lib / "one_file-1.dist-info").rmdir()
    node.link()

    assert before - node.links() == {"one_file.py", "one_file-1.dist-info"}


def test_links_of_a_run_that_was_killed_before_it_recorded_them_are_made_anew(node):
    node.link()
    before, record = node.links(), (node.home / "links.txt").read_text()
    (node.home / "links.txt").unlink()

    node.link()

    assert node.links() == before
    assert (node.home / "links.txt").read_text() == record


def test_our_package_is_linked_where_an_older_one_is_known_by_name_only(node):
    """An editable install leaves such a folder."""
    distribution(node.site, "spark_sidecar", "1")

    node.link()

    assert node.imported("server_utils").resolve().is_relative_to(node.lib)
