"""Which GPUs a server may use: its share of those of its executor. Executors; no Spark."""

from __future__ import annotations

from collections.abc import Sequence

from server_utils.errors import ConfigurationError
from server_utils.host.gpus import VISIBLE_DEVICES, visible_gpus
from server_utils.servers.launch import Launch


def environment(assigned: Sequence[str], launch: Launch, replica: int = 0) -> dict[str, str]:
    """The environment variables by which a server sees its GPUs and no others; empty where it may see all.

    assigned: the addresses that Spark gave the task, in its order; none where Spark knows no GPUs.

    Raises:
        ConfigurationError: the servers of the executor cannot have equal shares.
    """
    gpus = _of_executor(assigned, launch)
    each, rest = divmod(len(gpus), launch.replicas)
    if gpus and (rest or not each):
        raise ConfigurationError(
            f"{launch.replicas} servers per executor cannot share {len(gpus)} GPUs equally; choose replicas so that "
            "each has as many"
        )
    share = gpus[replica * each : (replica + 1) * each]
    return {VISIBLE_DEVICES: ",".join(share)} if share else {}


def _of_executor(assigned: Sequence[str], launch: Launch) -> Sequence[str]:
    """All GPUs of the executor. A task that asks for a share of one knows only that one (Spark 4.3)."""
    if len(assigned) < launch.gpus or (not assigned and launch.replicas > 1):
        visible = visible_gpus()
        if not assigned or len(visible) == launch.gpus:
            return visible
    return assigned
