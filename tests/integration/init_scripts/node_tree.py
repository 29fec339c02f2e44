"""A node of a cluster that is thrown away: this machine's own root below an overlay, in namespaces of its own.

Nothing that runs in it changes this machine, sees its processes, or reaches a network. The platforms' commands are
stand-ins that note how they were called.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

_READY = "ready"
# The namespace ends with this process, in any case after so many seconds.
_LIFE_S = 900
_ENTER = r"""
set -euo pipefail
root="$1" ; shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/up" "$root/work" "$root/mnt"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/up,workdir=$root/work" "$root/mnt"
cd "$root/mnt"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs -o mode=1777 tmpfs dev/shm
# Before the folders below: this repository may be in one of them.
mount -t tmpfs -o mode=1777 tmpfs tmp
while (($#)); do
  mkdir -p ".$2"
  mount --bind "$1" ".$2"
  shift 2
done
ip link set lo up
echo ready
# Not exec: the first process of a namespace has to reap those whose parents are gone, and a shell does.
sleep "$LIFE_S" &
wait "$!"
"""


def why_not():
    """Why there can be no tree here, or None."""
    if os.geteuid() != 0:
        return "only root can make namespaces and mounts"
    missing = [tool for tool in ("unshare", "nsenter", "ip", "chroot") if shutil.which(tool) is None]
    if missing:
        return f"no {missing[0]} on this machine"
    script = (
        "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/m && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m"
    )
    tried = subprocess.run(
        ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no overlay in a namespace here: {tried.stderr.strip()}" if tried.returncode else None


class NodeTree:
    """One node. binds: (folder of this machine, place in the tree)."""

    def __init__(self, folder: Path, binds):
        folder.mkdir(parents=True, exist_ok=True)
        flat = [str(part) for pair in binds for part in pair]
        self._holder = subprocess.Popen(
            ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "bash", "-c", _ENTER, "enter", str(folder), *flat],
            stdout=subprocess.PIPE,
            env=os.environ | {"LIFE_S": str(_LIFE_S)},
            text=True,
        )
        if self._holder.stdout.readline().strip() != _READY:
            self.close()
            raise AssertionError("the tree could not be made; its reason is on standard error")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._init = children[0]
        # Through the namespace's own init, which sees its mounts.
        self.root = Path(f"/proc/{self._init}/root{folder}/mnt")

    def start(self, *command, **variables):
        """A process in the tree, with nothing of this machine's environment."""
        clean = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        words = [f"{key}={value}" for key, value in (clean | variables).items()]
        enter = ["nsenter", "-t", self._init, "-m", "-p", "-n"]
        inside = ["chroot", str(self.root).removeprefix(f"/proc/{self._init}/root"), "env", "-i", *words, *command]
        return subprocess.Popen(
            [*enter, *inside], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *command, **variables):
        """Run to the end: (status, standard output, standard error)."""
        process = self.start(*command, **variables)
        out, err = process.communicate(timeout=_LIFE_S)
        return process.returncode, out, err

    def write(self, path, text, *, mode=0o644):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path):
        return (self.root / path.lstrip("/")).read_text()

    def exists(self, path):
        # Not followed: a link of the tree would lead into this machine's own files.
        return os.path.lexists(self.root / path.lstrip("/"))

    def stand_in(self, path, body):
        """A command that notes its arguments in /var/log/stand-ins.log, and then does `body`."""
        name = Path(path).name
        self.write(path, f'#!/bin/bash\necho "{name} $*" >> /var/log/stand-ins.log\n{body}\n', mode=0o755)

    def called(self):
        return self.read("/var/log/stand-ins.log").splitlines() if self.exists("/var/log/stand-ins.log") else []

    def close(self):
        if self._holder.poll() is None:
            # --kill-child: with the holder its whole namespace of processes ends.
            self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        self._holder.stdout.close()
