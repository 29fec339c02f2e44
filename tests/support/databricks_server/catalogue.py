"""Node types and runtimes of the workspace: those of the project's own facts, and a few without a GPU."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

_DATA = Path(__file__).parents[3] / "server_utils" / "data"
# Without a GPU; the facts list GPUs only.
_WITHOUT_GPU = {"aws": ("m5.large", "i3.xlarge"), "azure": ("Standard_D4ds_v5",), "gcp": ("n2-standard-4",)}
# Of the runtimes with long-term support.
_SPARKS = {"15.4": "3.5.0", "16.4": "3.5.2", "17.3": "4.0.0"}
_TOTAL_CORES = 350


@dataclass(frozen=True)
class Node:
    """A node type. statuses: NotEnabledOnSubscription, NotAvailableInRegion; with one it cannot be had.

    free_cores: of the quota; None where the cloud tells none.
    """

    name: str
    gpus: int
    cores: int
    memory_mb: int
    deprecated: bool = False
    statuses: tuple = ()
    free_cores: int | None = None

    def body(self):
        quota = {"available_core_quota": self.free_cores, "total_core_quota": _TOTAL_CORES}
        return {
            "node_type_id": self.name,
            "instance_type_id": self.name,
            "description": self.name,
            "category": "GPU Accelerated" if self.gpus else "General Purpose",
            "num_gpus": self.gpus,
            "num_cores": float(self.cores),
            "memory_mb": self.memory_mb,
            "is_deprecated": self.deprecated,
            "is_hidden": False,
            "is_graviton": False,
            "photon_driver_capable": not self.gpus,
            "photon_worker_capable": not self.gpus,
            "support_cluster_tags": True,
            "node_info": {"status": list(self.statuses)} | (quota if self.free_cores is not None else {}),
            "node_instance_type": {"instance_type_id": self.name, "local_disks": 1, "local_disk_size_gb": 100},
        }


class Catalogue:
    """nodes: name -> Node. runtimes: name -> title."""

    def __init__(self, cloud):
        platforms = json.loads((_DATA / "platforms.json").read_text())
        gpus = json.loads((_DATA / "gpus.json").read_text())
        rows = [row for row in _rows(gpus) if row["platform"] == f"databricks-{cloud}"]
        made = [Node(row["node_type"], row["gpus"], row["vcpus"], row["ram_gib"] * 1024) for row in rows]
        made += [Node(name, 0, 4, 16384) for name in _WITHOUT_GPU[cloud]]
        driver = platforms["platforms"][f"databricks-{cloud}"]["driver_node_type"]
        self.nodes = {driver: Node(driver, 1, 8, 32768)} | {node.name: node for node in made}
        if cloud == "azure":  # the only cloud whose quotas the API tells
            self.nodes = {name: replace(node, free_cores=_TOTAL_CORES) for name, node in self.nodes.items()}
        self.runtimes = {
            row["name"]: _title(row["name"]) for row in platforms["runtimes"] if row["kind"] == "databricks"
        }
        self.runtimes |= {name.replace("-gpu-ml", ""): _title(name) for name in list(self.runtimes)}

    def change(self, name, **changes):
        """Have a node type deprecated, or not offered: `change("g5.4xlarge", statuses=("NotAvailableInRegion",))`."""
        self.nodes[name] = replace(self.nodes[name], **changes)

    def routes(self):
        return {
            "GET /api/2.1/clusters/list-node-types": lambda _: {"node_types": [n.body() for n in self.nodes.values()]},
            "GET /api/2.1/clusters/spark-versions": lambda _: {
                "versions": [{"key": key, "name": name} for key, name in self.runtimes.items()]
            },
        }


def _rows(facts):
    return facts if isinstance(facts, list) else next(v for v in facts.values() if isinstance(v, list))


def _title(name):
    version = name.split(".x")[0]
    ml = "ML, GPU, " if "gpu-ml" in name else ""
    lts = " LTS" if version in _SPARKS else ""
    return f"{version}{lts} ({ml}Apache Spark {_SPARKS.get(version, '4.0.0')}, Scala {name.rsplit('scala', 1)[1]})"
