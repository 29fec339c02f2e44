"""Compare an existing cluster with the requested one. Laptop; sends no request.

The service fills in what a request leaves out: properties and labels of its own, the newest image of a version, whole
addresses of machine types and zones. These are no differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from csp.cloud import Difference

_INSTALLED = ("framework", "spark-sidecar-bundle")  # metadata that decides what nodes install


def nodes(config: Any) -> str:
    """Return the nodes of a cluster as text, such as "1 x n2-standard-8, 2 x g2-standard-12"."""
    groups = (config.master_config, config.worker_config, config.secondary_worker_config)
    named = [(each.num_instances, _last(each.machine_type_uri)) for each in groups]
    return ", ".join(f"{count} x {kind or named[1][1]}" for count, kind in named if count)


def idle_minutes(config: Any) -> int:
    """Return the minutes without work after which the cluster is deleted; 0 for never."""
    lifetime = config.lifecycle_config.idle_delete_ttl if config.lifecycle_config else None
    return int(lifetime.total_seconds() // 60) if lifetime else 0


def differences(existing: Any, requested: Any) -> Iterator[Difference]:
    """Return the differences between the existing cluster and the requested one, such as "zone is a, not b"."""
    facts = _facts(existing)
    for key, value in _facts(requested).items():
        if facts.get(key, "") != value:
            yield Difference(f"{key} is {facts.get(key, '') or 'not set'}, not {value or 'empty'}")
    settings = _settings(existing)
    different = sorted(key for key, value in _settings(requested).items() if settings.get(key) != value)
    if different:  # the text has no values, which may be secrets
        yield Difference(f"settings differ ({', '.join(different)})", is_setting=True)


def _facts(cluster: Any) -> dict[str, str]:
    """Return what makes a cluster: its nodes, and what they install."""
    config = cluster.config
    machines, metadata = config.gce_cluster_config, config.gce_cluster_config.metadata
    facts = {
        "nodes": nodes(config),
        # The request has a version such as 2.3-ml-ubuntu22, the existing cluster an image such as 2.3.14-ml-ubuntu22.
        "image": re.sub(r"^(\d+\.\d+)\.\d+", r"\1", config.software_config.image_version),
        "idle minutes": str(idle_minutes(config)),
        "network tags": ", ".join(sorted(machines.tags)),
        # The name of the bundle's folder has a hash of all files that nodes install from.
        **{key: metadata.get(key, "") for key in _INSTALLED},
    }
    # If a request leaves these out, Dataproc chooses them or the machine type has them, and they are not compared.
    optional = {
        "GPUs": _gpus(config),
        "local SSDs": _local_ssds(config),
        "service account": machines.service_account,
        "subnetwork": _last(machines.subnetwork_uri),
        "zone": _last(machines.zone_uri),
    }
    return facts | {name: value for name, value in optional.items() if value}


def _settings(cluster: Any) -> dict[str, str]:
    """Return the settings that another version of Spark Sidecar may change, with the same nodes and files."""
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
    """Return the number of local SSDs of a worker; "" for none."""
    groups = (config.master_config, config.worker_config, config.secondary_worker_config)
    return str(max(each.disk_config.num_local_ssds for each in groups) or "")


def _last(address: str) -> str:
    return address.rpartition("/")[2]
