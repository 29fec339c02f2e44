"""What a cluster executes on: one machine that stands for its driver and all of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class NotebookEnd:
    """An executed notebook. error, error_trace: of the cell that failed. result: of dbutils.notebook.exit."""

    notebook: dict
    result: str | None = None
    error: str | None = None
    error_trace: str | None = None


@dataclass(frozen=True)
class Folders:
    """Folders of this host, which a node sees as /Volumes and /Workspace."""

    volumes: Path
    workspace: Path


class Node(Protocol):
    """A machine that is made for a cluster, and is gone with it. variables: the environment of the program."""

    def run_script(self, text: str, variables: dict) -> Ended: ...

    def run_notebook(self, notebook: dict, parameters: dict, variables: dict) -> NotebookEnd: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Machines:
    """Makes the nodes of clusters. make: (Folders, name) -> Node, or None: then nothing is executed."""

    folders: Folders
    make: object = None
    _made: dict = field(default_factory=dict)

    def of(self, cluster_id):
        """The node of a cluster, made when it is first asked for; None where nothing is executed."""
        if self.make is None:
            return None
        if cluster_id not in self._made:
            self._made[cluster_id] = self.make(self.folders, cluster_id)
        return self._made[cluster_id]

    def close(self, cluster_id):
        if node := self._made.pop(cluster_id, None):
            node.close()

    def close_all(self):
        for each in list(self._made):
            self.close(each)
