"""A cluster that is there beside the one that is wanted: in what they differ. Laptop; asks nothing.

The service completes what a request leaves out: properties and labels of its own, the image that a version means now,
whole addresses of machine types and zones. None of this makes another cluster of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from csp.cloud import Difference

_INSTALLED = ("framework", "spark-sidecar-bundle")  # metadata that says what nodes install


def nodes(config: Any) -> str:
    """The nodes of a cluster, such as "1 x n2-standard-8, 2 x g2-standard-12"."""
    groups = (config.master_config, config.worker_config, config.secondary_worker_config)
    named = [(each.num_instances, _last(each.machine_type_uri)) for each in groups]
    return ", ".join(f"{count} x {kind or named[1][1]}" for count, kind in named if count)


def idle_minutes(config: Any) -> int:
    """After how long without work it is deleted; 0 for never."""
    lifetime = config.lifecycle_config.idle_delete_ttl if config.lifecycle_config else None
    return int(lifetime.total_seconds() // 60) if lifetime else 0


def differences(existing: Any, wanted: Any) -> Iterator[Difference]:
    """In what a cluster is not the one that is wanted, such as "zone is a, not b"."""
    facts = _facts(existing)
    for key, value in _facts(wanted).items():
        if facts.get(key, "") != value:
            yield Difference(f"{key} is {facts.get(key, '') or 'not set'}, not {value or 'empty'}")
    there = _settings(existing)
    different = sorted(key for key, value in _settings(wanted).items() if there.get(key) != value)
    if different:  # names alone: a value may be a secret
        yield Difference(f"settings differ ({', '.join(different)})", is_setting=True)


def _facts(cluster: Any) -> dict[str, str]:
    """The nodes, and what they install."""
    config = cluster.config
    machines, metadata = config.gce_cluster_config, config.gce_cluster_config.metadata
    facts = {
        "nodes": nodes(config),
        # 2.3.14-ml-ubuntu22 is what 2.3-ml-ubuntu22 was when the cluster was made.
        "image": re.sub(r"^(\d+\.\d+)\.\d+", r"\1", config.software_config.image_version),
        "idle minutes": str(idle_minutes(config)),
        "network tags": ", ".join(sorted(machines.tags)),
        # The folder of the bundle has a hash of all that nodes install from in its name.
        **{key: metadata.get(key, "") for key in _INSTALLED},
    }
    # What a request leaves out Dataproc chooses, and machine types bring: GPUs, disks, zone, network and account.
    optional = {
        "GPUs": _gpus(config),
        "local SSDs": _local_ssds(config),
        "service account": machines.service_account,
        "subnetwork": _last(machines.subnetwork_uri),
        "zone": _last(machines.zone_uri),
    }
    return facts | {name: value for name, value in optional.items() if value}


def _settings(cluster: Any) -> dict[str, str]:
    """What another version of Spark Sidecar may ask for otherwise, with the same nodes and files."""
    config = cluster.config
    metadata, properties = config.gce_cluster_config.metadata, config.software_config.properties
    return {
        **{key: value for key, value in metadata.items() if key not in _INSTALLED},
        **{key: value for key, value in properties.items() if key.startswith(("spark:", "yarn:"))},
    }


def _gpus(config: Any) -> str:
    groups = (config.master_config, config.worker_config, config.secondary_worker_config)
    attached = [each for group in groups for each in group.accelerators]
    return ", ".join(f"{each.accelerator_count} x {_last(each.accelerator_type_uri)}" for each in attached)


def _local_ssds(config: Any) -> str:
    """How many each worker has; "" for none."""
    groups = (config.master_config, config.worker_config, config.secondary_worker_config)
    return str(max(each.disk_config.num_local_ssds for each in groups) or "")


def _last(address: str) -> str:
    return address.rpartition("/")[2]
