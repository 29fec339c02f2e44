"""A node of a Databricks cluster that is thrown away: init scripts and notebooks run in it for real.

It is the tree of the init scripts' own tests, with the folders of a workspace as /Volumes and /Workspace.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

from support.databricks_server import notebook_program
from support.databricks_server.nodes import Ended, NotebookEnd

from integration.init_scripts.conftest import ROOT, give_notebook, give_python
from integration.init_scripts.node_tree import NodeTree

_PYTHON = "/databricks/python3/bin/python"
_SHORT_LIFE = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_CONF = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": _SHORT_LIFE,
    "spark.driver.host": "127.0.0.1",
    "spark.executor.extraJavaOptions": _SHORT_LIFE,
    "spark.log.level": "OFF",
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


class SealedNode:
    """A `Node` for `DatabricksServer(nodes=…)`. conf: of the session that notebooks find."""

    def __init__(self, folder, folders, conf):
        binds = [(ROOT, str(ROOT)), (folders.volumes, "/Volumes"), (folders.workspace, "/Workspace")]
        self.tree = NodeTree(Path(folder), binds)
        self._conf = _CONF | conf
        give_python(self.tree, _PYTHON)
        self._python = give_notebook(self.tree)
        self._running, self._numbers = [], itertools.count(1)

    def run_script(self, text, variables):
        # As on Databricks: a copy below a name that says nothing of where the script came from.
        self.tree.write("/databricks/init_scripts/script.sh", text, mode=0o755)
        return Ended(*self.tree.run("bash", "/databricks/init_scripts/script.sh", **variables))

    def run_notebook(self, notebook, parameters, variables):
        given = {"notebook": notebook, "parameters": parameters, "conf": self._conf}
        # Several tasks may run at once, each with files of its own.
        number = next(self._numbers)
        source, target = (f"/databricks/{name}-{number}.json" for name in ("given", "end"))
        self.tree.write(source, json.dumps(given))
        expected = variables | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": self._python}
        running = self.tree.start(self._python, str(Path(notebook_program.__file__)), source, target, **expected)
        self._running.append(running)
        out, err = running.communicate()
        if running.returncode:
            return NotebookEnd(notebook, error="The driver process ended", error_trace=out + err)
        return replace(NotebookEnd(notebook), **json.loads(self.tree.read(target)))

    def interrupt(self):
        """End the notebooks that run. Each has a session of its own: the namespace gives no other handle."""
        for running in [each for each in self._running if each.poll() is None]:
            os.killpg(running.pid, signal.SIGTERM)

    def close(self):
        self.tree.close()


def nodes_below(folder, conf=None):
    """What `DatabricksServer(nodes=…)` takes: makes nodes in folders below this one; conf: of Spark."""

    def make(folders, name):
        return SealedNode(Path(folder) / name, folders, conf or {})

    return make
