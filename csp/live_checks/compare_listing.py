"""Compare the list of a platform with the catalogue: `… | python -m csp.live_checks.compare_listing KIND PLATFORM`.

It reads the platform's JSON from standard input, prints one line, and exits with 1 if something is missing. Laptop.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from server_utils.clusters.catalogue import nodes
from server_utils.clusters.cluster import runtimes

# The API lists a node type with one of these if the account cannot use it.
_REFUSALS = ("NotEnabledOnSubscription", "NotAvailableInRegion")


def missing_node_types(listing: dict[str, Any], platform: str) -> tuple[int, list[str]]:
    """Return the number of documented node types, and those that the workspace does not offer."""
    offered = {each["node_type_id"]: _refusal(each) for each in listing.get("node_types", [])}
    wanted = sorted({each.node_type for each in nodes(platform) if each.documented})
    return len(wanted), [f"{name} ({offered.get(name, 'not listed')})" for name in wanted if offered.get(name, "-")]


def missing_runtimes(listing: dict[str, Any], platform: str) -> tuple[int, list[str]]:
    """Return the number of our runtimes, and those that the workspace does not have by that name."""
    offered = {each["key"] for each in listing.get("versions", [])}
    wanted = [each.name for each in runtimes(platform)]
    return len(wanted), [name for name in wanted if name not in offered]


def missing_quotas(listing: dict[str, Any], platform: str) -> tuple[int, list[str]]:
    """Return the number of regional quotas in the catalogue, and those that the region does not have.

    The list of a region has no quotas of the whole project, and none that count by GPU family.
    """
    offered = {each["metric"] for each in listing.get("quotas", [])}
    named = {
        name for each in nodes(platform) for name in re.findall(r"\b(?:PREEMPTIBLE_)?NVIDIA_\w+_GPUS\b", each.quota)
    }
    return len(named), sorted(named - offered)


def _refusal(node_type: dict[str, Any]) -> str:
    status = (node_type.get("node_info") or {}).get("status") or []
    return ", ".join(each for each in status if each in _REFUSALS)


_COMPARISONS = {"node-types": missing_node_types, "runtimes": missing_runtimes, "quotas": missing_quotas}


def main(arguments: list[str]) -> int:
    """Compare the listing on standard input with the catalogue; return the exit status."""
    kind, platform = arguments
    try:
        listing = json.load(sys.stdin)
    except json.JSONDecodeError as err:
        sys.stdout.write(f"the platform printed no JSON: {err}\n")
        return 1
    # Databricks' command prints the list of node types or versions with or without the object around it.
    field = {"node-types": "node_types", "runtimes": "versions", "quotas": "quotas"}[kind]
    count, missing = _COMPARISONS[kind](listing if isinstance(listing, dict) else {field: listing}, platform)
    summary = f"{len(missing)} of {count} missing: {', '.join(missing)}" if missing else f"all {count} {kind} are there"
    sys.stdout.write(f"{summary}\n")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
