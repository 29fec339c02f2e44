"""Watch the processes of an engine: laid beside a backend's program, which imports it. Standard library only.

It runs in the sealed environment, which does not hold this package: it imports nothing of it. That is why it has an
atomic write of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

GONE, STOPPED = "ZX", "T"  # states of processes, as /proc has them
_LISTEN = "0A"  # a state of sockets, the same


def get(port: int, path: str, *, timeout_s: float = 5, key: str | None = None) -> bytes | None:
    """The body of an answer with status 200, else None. key: for a server that requires one.

    Not urllib: it would ask a proxy for a loopback address.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        return answer.read() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def write(path: Path, value: Any) -> None:
    """Replace a JSON file in one step: a reader sees the old one or the new one."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value))
    beside.replace(path)


def state(pid: int) -> str:
    """The state of a process: R runs, S sleeps, T is stopped, Z has ended, X does not exist."""
    return _stat(pid)[1]


def below(ancestor: int) -> Iterator[tuple[int, str]]:
    """Every process below one: its id and the first 15 bytes of its name, which is what the kernel keeps."""
    processes = {int(folder.name): _stat(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    for pid, (name, _, parent) in processes.items():
        above = parent
        while above in processes and above != ancestor:
            above = processes[above][2]
        if above == ancestor:
            yield pid, name


def listens(pids: Collection[int], port: int) -> bool:
    """Whether one of these processes listens on a port of IPv4, by the kernel's table of sockets."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in table if row[3] == _LISTEN and int(row[1].partition(":")[2], 16) == port}
    return any(f"socket:[{inode}]" in _open_files(pid) for pid in pids for inode in inodes)


def end(reason: str, *, status: int = 1) -> None:
    """End this process at once, with the reason in its log. status: os.EX_TEMPFAIL to be started again."""
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os._exit(status)


def _stat(pid: int) -> tuple[str, str, int]:
    """Name, state and parent of a process."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return "", "X", 0
    letter, parent, *_ = after.split()
    return before.partition("(")[2], letter, int(parent)


def _open_files(pid: int) -> set[str]:
    """What a process has open; nothing where it has ended."""
    files = set()
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                files.add(str(each.readlink()))
    return files
