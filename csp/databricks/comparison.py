"""A cluster that is there beside the request that would make it: in what they differ. Laptop; asks nothing.

Another version of Spark Sidecar may ask for another setting or variable. Nodes and files are the same then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csp.cloud import Difference

# The zone is not one: `auto` becomes a real one.
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


def differences(asked: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[Difference]:
    """In what the cluster differs from the request; what it has beyond it is no difference."""
    for field, what in _FIELDS.items():
        if field in asked and asked[field] != has.get(field):
            yield Difference(f"{what} is {has.get(field)}, not {asked[field]}")
    yield from _of_the_cloud(asked, has)
    if asked["init_scripts"] != has.get("init_scripts"):
        yield Difference("the files that nodes install from have changed")
    yield from _settings(asked, has)


def _of_the_cloud(asked: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[Difference]:
    """In the cloud's own attributes, such as spot."""
    (field,) = (each for each in asked if each.endswith("_attributes"))
    there = has.get(field) or {}
    for key, what in _OF_THE_CLOUD.items():
        value, now = asked[field].get(key), there.get(key)
        if value and value != now:
            yield Difference(f"{what} is {now}, not {value}")


def _settings(asked: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[Difference]:
    """Names alone: a value may be a secret."""
    for field, what in _SETTINGS.items():
        actual = has.get(field) or {}
        if different := sorted(key for key, value in asked[field].items() if actual.get(key) != value):
            yield Difference(f"{what} differ ({', '.join(different)})", is_setting=True)
