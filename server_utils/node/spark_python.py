"""Spark's own Python on a node: how it finds our package, and what it may get besides. Nodes only.

It replaces nothing of the platform's. Standard library only, until our package and what it needs are installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from server_utils.clusters.cluster import runs_containers
from server_utils.environments.lock_files import lock_file, requirements, uv_sources
from server_utils.node.node import Node, StepError, run, sources, write_log

# It needs numpy 1.26, which the runtimes no longer have; models in process need no Triton.
_NEVER = "nvidia-pytriton"
_OURS = "spark-sidecar"  # linked even where another one is a library of the cluster, which then comes first
_NO_MODULES = {"bin", "__pycache__", ".."}
# -S: no .pth file is read, as a notebook reads none of the cluster's. The modules need neither Spark nor an engine.
_IMPORT = """
import sys
sys.path += sys.argv[1:]
import server_utils.cli.main, server_utils.servers.lifecycle
import server_utils.inference.openai.client, server_utils.inference.triton.client
"""


def link(node: Node) -> None:
    """Have Spark's Python find our package and what it needs, behind its own packages.

    A line of a .pth file does that for the Python itself. A notebook of Databricks runs a clone of it, which has the
    cluster's package folder as a plain entry of sys.path, and of such a folder Python reads no .pth files. So what the
    platform does not have is linked into the folder as well.
    """
    folder = Path(sysconfig.get_path("purelib"))
    record = node.home / "links.txt"
    recorded = map(Path, record.read_text(encoding="utf-8").splitlines() if record.exists() else ())
    for old in (*recorded, *folder.iterdir()):  # those of a killed run are in no record
        if old.is_symlink() and old.readlink().is_relative_to(node.lib):
            old.unlink()
    theirs = {name for name, _ in _installed(_package_folders())} - {_OURS}
    ours = metadata.distributions(path=[str(node.lib)])
    names = {file.parts[0] for each in ours if _name(each) not in theirs for file in each.files or ()}
    links = [made for name in sorted(names - _NO_MODULES) for made in _linked(node.lib / name, folder / name)]
    record.write_text("".join(f"{each}\n" for each in links), encoding="utf-8")
    (folder / "spark-sidecar.pth").write_text(f"{node.lib}\n")


def _linked(source: Path, target: Path) -> Iterator[Path]:
    """Link what is not there; a package without an __init__, such as zope, may be in several folders at once."""
    if not target.exists() and source.exists():
        target.unlink(missing_ok=True)  # a link that leads nowhere
        target.symlink_to(source)
        yield target
    elif source.is_dir() and target.is_dir() and not (source / "__init__.py").exists():
        for each in sorted(source.iterdir()):
            yield from _linked(each, target / each.name)


def check_import(node: Node) -> None:
    """Import our package as a notebook does: from plain entries of sys.path.

    Raises:
        StepError: if it cannot be imported.
    """
    command = [sys.executable, "-I", "-S", "-c", _IMPORT, *_package_folders()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    write_log(node, f"+ import server_utils, with {', '.join(_package_folders())}\n{done.stderr}")
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise StepError(
            f"a notebook cannot import server_utils ({' '.join(reason)}): add the wheel to the cluster's libraries as "
            "well, or report this with the log"
        )


def _package_folders() -> list[str]:
    """Where this interpreter finds the platform's packages, without our own folder."""
    return [entry for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]


def into_spark(node: Node) -> None:
    """Install what the environment has and Spark's Python lacks, each by its hash in the lock."""
    if not node.into_spark or not node.serves or runs_containers(node.framework):
        return
    lock = lock_file(node.framework)
    site = next((node.home / "envs" / node.framework).glob("lib/python*/site-packages"))
    theirs, ours = dict(_installed([str(site)])), {name for name, _ in _installed(sys.path)}
    lines = requirements(
        lock, lambda name, version: theirs.get(name) == version and name not in ours and name != _NEVER
    )
    if not lines:
        return
    wanted = node.home / "into-spark.txt"
    wanted.write_text(lines, encoding="utf-8")
    command = [str(node.home / "bin" / "uv"), "pip", "install", "--quiet", "--python", sys.executable]
    places = sources(node) if node.wheels else uv_sources(lock)
    run(node, [*command, "--no-deps", "--require-hashes", *places, "-r", str(wanted)])


def _installed(folders: list[str]) -> Iterator[tuple[str, str]]:
    """(normalized name, version) of all that folders hold."""
    for each in metadata.distributions(path=folders):
        yield _name(each), each.version


def _name(distribution: metadata.Distribution) -> str:
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
