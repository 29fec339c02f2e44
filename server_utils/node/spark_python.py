"""A step of `node.py`: the packages of an environment in Spark's own Python, for inference without a server.

Only when it is asked for, and only what is missing there: nothing that the runtime ships is replaced. Nodes only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from server_utils.environments.lock_files import lock_file, uv_sources
from server_utils.node.steps import Node, run, sources

# It needs numpy 1.26, which the runtimes no longer have; models in process need no Triton.
_NEVER = "nvidia-pytriton"
_BLOCK = re.compile(r"^([\w.-]+)==([\w.+!]+)[^\n]*((?:\n +--hash=[^\n]+)+)", re.MULTILINE)


def into_spark(node: Node) -> None:
    """Install what the environment has and Spark's Python lacks, each by its hash in the lock."""
    if not node.into_spark or node.is_master:
        return
    lock = lock_file(node.framework)
    site = next((node.home / "envs" / node.framework).glob("lib/python*/site-packages"))
    theirs, ours = dict(_installed(site)), {name for name, _ in _installed()}
    lines = [
        f"{name}=={version} \\{hashes}\n"
        for name, version, hashes in _BLOCK.findall(lock.read_text(encoding="utf-8"))
        if theirs.get(name) == version and name not in ours and name != _NEVER
    ]
    if not lines:
        return
    wanted = node.home / "into-spark.txt"
    wanted.write_text("".join(lines), encoding="utf-8")
    command = [str(node.home / "bin" / "uv"), "pip", "install", "--quiet", "--python", sys.executable]
    places = sources(node) if node.wheels else uv_sources(lock)
    run(node, [*command, "--no-deps", "--require-hashes", *places, "-r", str(wanted)])


def _installed(site: Path | None = None) -> Iterator[tuple[str, str]]:
    """(normalized name, version) of all that a folder holds, or that this interpreter finds."""
    for each in metadata.distributions(path=[str(site)]) if site else metadata.distributions():
        yield re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(), each.version
