"""Tags of a cluster, by which budgets and bills tell whose it is: what each platform takes. Laptop and driver.

The rules are facts. `clusters.json` has them too, so that Terraform refuses what is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from server_utils.errors import ConfigurationError

# Databricks tags every node with these itself. A tag of the same name would be shown with `x_` before it, and a budget
# on it would count nothing (docs of the Terraform resource databricks_cluster, default_tags).
_DATABRICKS_OWN = ("ClusterId", "ClusterName", "Creator", "Vendor")
_DATABRICKS_MOST = 45  # databricks-sdk, compute.ClusterSpec.custom_tags
_LABEL_NAME, _LABEL_VALUE = "[a-z][a-z0-9_-]{0,62}", "[a-z0-9_-]{0,63}"
_LABELS = "at most 63 lower-case letters, digits, _ and -, and a letter first"


@dataclass(frozen=True)
class TagRules:
    """What a platform takes as a tag, or as a label.

    Attributes:
        called: what the platform calls it.
        name: pattern of a whole name; `value` of a whole value. Both are understood by Python and by Go.
        prefixes: how no name may begin, in small letters.
        most: how many there may be.
        reserved: names that the platform sets itself.
        what: the patterns in words.
    """

    called: str
    name: str
    value: str
    what: str
    most: int
    prefixes: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()


_RULES = {
    "databricks-aws": TagRules(
        called="tag of AWS",  # docs.aws.amazon.com, Tag your Amazon EC2 resources: EC2 takes any character
        name=".{1,128}",
        value=".{0,256}",
        what="at most 128 and 256 characters, and no aws: first",
        most=_DATABRICKS_MOST,
        prefixes=("aws:",),
        # Databricks finds its instances by their Name: one with another name may never be terminated.
        reserved=(*_DATABRICKS_OWN, "Name"),
    ),
    "databricks-azure": TagRules(
        called="tag of Azure",  # learn.microsoft.com/azure/azure-resource-manager/management/tag-resources
        name=r"[^<>%&\\?/]{1,512}",
        value=".{0,256}",
        what=r"at most 512 and 256 characters; names without < > % & \ ? / and no azure, microsoft or windows first",
        most=_DATABRICKS_MOST,
        prefixes=("azure", "microsoft", "windows"),
        reserved=_DATABRICKS_OWN,
    ),
    "databricks-gcp": TagRules(
        called="label of Google Cloud",
        name=_LABEL_NAME,
        value=_LABEL_VALUE,
        what=_LABELS,
        most=_DATABRICKS_MOST,
        reserved=_DATABRICKS_OWN,
    ),
    # 32 labels: google-cloud-dataproc, Cluster.labels. Ours and that of a deployment are among them.
    "dataproc": TagRules(
        called="label of Google Cloud",
        name=_LABEL_NAME,
        value=_LABEL_VALUE,
        what=_LABELS,
        most=30,
        prefixes=("goog-",),
    ),
}


def tag_rules(platform: str) -> TagRules:
    """The rules of a platform of the catalogue."""
    return _RULES[platform]


def check_tags(tags: Mapping[str, str], platform: str) -> None:
    """Refuse tags that the platform refuses, or shows under another name.

    Raises:
        ConfigurationError: with the tag, and what to do.
    """
    rules = tag_rules(platform)
    if "ResourceClass" in tags and platform != "dataproc":
        raise ConfigurationError(
            "Databricks uses the tag ResourceClass for single nodes; give your tag another name, or workers=0"
        )
    if own := sorted(set(tags) & set(rules.reserved)):
        raise ConfigurationError(
            f"Databricks sets the tag {own[0]} itself, and a budget would not find yours; give your tag another name"
        )
    for key, value in tags.items():
        matches = re.fullmatch(rules.name, key) and re.fullmatch(rules.value, value)
        if not matches or key.lower().startswith(rules.prefixes):
            raise ConfigurationError(f"the tag {key}={value} is no {rules.called}: {rules.what}")
    if len(tags) > rules.most:
        raise ConfigurationError(f"there are {len(tags)} tags; {platform} takes {rules.most}: leave some out")
