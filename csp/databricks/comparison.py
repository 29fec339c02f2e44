"""Compare an existing cluster with the request that would make it. Laptop; sends no request.

Another version of Spark Sidecar may request another setting or variable. Nodes and files are the same then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csp.cloud import Difference

# The zone is not compared: the workspace replaces `auto` by the zone that it chose.
_FIELDS = {
    "spark_version": "the runtime",
    "node_type_id": "the node type",
    "driver_node_type_id": "the driver's node type",
    "num_workers": "the number of workers",
    "policy_id": "the policy",
    "single_user_name": "whom it is dedicated to",
    "autotermination_minutes": "the idle time in minutes",
}
_OF_THE_CLOUD = {"availability": "the availability", "instance_profile_arn": "the instance profile"}
_SETTINGS = {"spark_conf": "Spark settings", "spark_env_vars": "variables"}


def differences(existing: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[Difference]:
    """Return the differences between the existing cluster and the requested one. Further fields are no difference."""
    for field, label in _FIELDS.items():
        if field in requested and requested[field] != existing.get(field):
            yield Difference(f"{label} is {existing.get(field)}, not {requested[field]}")
    yield from _cloud_differences(existing, requested)
    if requested["init_scripts"] != existing.get("init_scripts"):
        yield Difference("the files that nodes install from have changed")
    yield from _setting_differences(existing, requested)


def _cloud_differences(existing: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare the cloud's own attributes, such as spot."""
    (field,) = (each for each in requested if each.endswith("_attributes"))
    attributes = existing.get(field) or {}
    for key, label in _OF_THE_CLOUD.items():
        value, now = requested[field].get(key), attributes.get(key)
        if value and value != now:
            yield Difference(f"{label} is {now}, not {value}")


def _setting_differences(existing: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare settings. The text names them without their values, which may be secrets."""
    for field, label in _SETTINGS.items():
        actual = existing.get(field) or {}
        if different := sorted(key for key, value in requested[field].items() if actual.get(key) != value):
            yield Difference(f"{label} differ ({', '.join(different)})", is_setting=True)
