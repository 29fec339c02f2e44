"""The process that stays when a supervisor is killed: it ends what that one can no longer end. No Spark.

SIGKILL of a supervisor takes the leader of its server along, but not what the leader started (measured: tritonserver
lives on, and holds the GPU until somebody asks for a server again, which may be never).
"""

from __future__ import annotations

import os
import select

from server_utils.host.process_tree import end, lost
from server_utils.servers.launch import ProcessId

MARK = "SPARK_SIDECAR_SUPERVISOR"  # in the environment of every process below a supervisor, with its identity


def identity(supervisor: ProcessId) -> str:
    """The value of the mark."""
    return f"{supervisor.pid}-{supervisor.started}"


def watch_over(supervisor: ProcessId) -> None:
    """Leave a keeper for this process, which is a supervisor that has started nothing yet.

    Forked twice: the keeper is no child of the supervisor, so the tree below that one is the server's alone.
    """
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        _keep(supervisor)
    os._exit(0)


def _keep(supervisor: ProcessId) -> None:
    os.setsid()
    waiting = select.poll()
    waiting.register(os.pidfd_open(supervisor.pid), select.POLLIN)
    waiting.poll()
    end(lambda: lost(MARK, identity(supervisor)), leader=None, grace_s=0)
