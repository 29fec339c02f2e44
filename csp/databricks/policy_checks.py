"""Check for free whether a cluster policy allows a cluster, before the cluster is requested. Laptop.

A policy has a rule for each path of a request, such as `spark_conf.spark.speculation`. Only paths in the request are
checked: the workspace adds the values that the policy fixes and the request leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from csp.cloud import Check
from csp.databricks.client import GoneError, translated

_ALLOWED = "give the options that it allows, or another --policy"


def check(client: Any, policy: str, request: Mapping[str, Any]) -> Check:
    """Compare the request that makes the cluster with the policy."""
    try:
        with translated("reading the policy"):
            cluster_policy = client.cluster_policies.get(policy)
    except GoneError:
        return Check(
            "policy", f"there is no policy {policy}", "`databricks cluster-policies list` shows those you may use"
        )
    rules = json.loads(cluster_policy.definition or "{}")
    values = {path: value for path in rules if (value := _value(request, path)) is not None}
    broken, unknown = [], []
    for path, value in values.items():
        try:
            if demand := _broken(rules[path], value):
                broken.append(f"{path} is {value}, and {demand}")
        except (TypeError, ValueError, re.error):  # such as a pattern that only Java reads: the workspace decides
            unknown.append(path)
    if broken:
        return Check("policy", f"{cluster_policy.name} ({policy}) does not allow it: {'; '.join(broken)}", _ALLOWED)
    notice = f"; {', '.join(unknown)} could not be compared" if unknown else ""
    return Check("policy", f"{cluster_policy.name} ({policy}){notice}")


def _value(request: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of the request; None for no value. The name of a Spark setting has dots too."""
    first, _, rest = path.partition(".")
    value = request.get(first)
    if not rest:
        return value
    return value.get(rest) if isinstance(value, Mapping) else None


def _broken(rule: Mapping[str, Any], value: Any) -> str:
    """Return what a rule demands if the value breaks it, else "". Rules of other types demand nothing."""
    demand, values = "", rule.get("values", [])
    match rule.get("type"):
        case "fixed" if not _same(value, rule.get("value")):
            demand = f"it is fixed to {rule.get('value')}"
        case "allowlist" if not any(_same(value, each) for each in values):
            demand = f"allowed are {', '.join(map(str, values))}"
        case "blocklist" if any(_same(value, each) for each in values):
            demand = "this is blocked"
        case "regex" if not re.fullmatch(rule.get("pattern", ".*"), str(value)):
            demand = f"it must match {rule.get('pattern')}"
        case "range" if not _within(float(value), rule):
            demand = f"it must be from {rule.get('minValue', 'any')} to {rule.get('maxValue', 'any')}"
        case "forbidden":
            demand = "it must be left out"
    return demand


def _within(value: float, rule: Mapping[str, Any]) -> bool:
    return bool(float(rule.get("minValue", value)) <= value <= float(rule.get("maxValue", value)))


def _same(one: Any, other: Any) -> bool:
    """Compare as texts: settings are texts, and their policies may hold numbers and booleans."""
    return str(one).lower() == str(other).lower()
