"""Tags of a cluster: what each platform takes, by which budgets count."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from server_utils.clusters.catalogue import platforms
from server_utils.clusters.tags import check_tags, tag_rules
from server_utils.errors import ConfigurationError

AWS, AZURE, GCP, DATAPROC = "databricks-aws", "databricks-azure", "databricks-gcp", "dataproc"
MANY = {f"t{number}": "x" for number in range(46)}


@pytest.mark.parametrize(
    ("platform", "tags"),
    [
        (AWS, {"Cost Center": "R&D", "team:owner": "a@example.com", "Größe": "x"}),
        (AZURE, {"Kostenstelle": "F&E, Süd", "a" * 512: ""}),
        (GCP, {"cost_center": "research-1", "a" * 63: "1" * 63}),
        (DATAPROC, {"team": "", "cost-center": "42"}),
        *((platform, {"spark-sidecar-deployment": "mine"}) for platform in platforms()),
    ],
)
def test_what_the_cloud_takes_is_accepted(platform, tags):
    check_tags(tags, platform)


@pytest.mark.parametrize(
    ("platform", "tags", "said"),
    [
        (AWS, {"t" * 129: "a"}, "is no tag of AWS: at most 128 and 256 characters"),
        (AWS, {"AWS:team": "a"}, "and no aws: first"),
        (AWS, {"team": "a" * 257}, "is no tag of AWS"),
        (AWS, {"Name": "mine"}, "Databricks sets the tag Name itself, .* give your tag another name"),
        (AZURE, {"team/owner": "a"}, "is no tag of Azure: .* without < > %"),
        (AZURE, {"azure-team": "a"}, "no azure, microsoft or windows first"),
        (AZURE, {"Creator": "me"}, "a budget would not find yours; give your tag another name"),
        (GCP, {"1team": "a"}, "is no label of Google Cloud: at most 63 .* and a letter first"),
        (GCP, {"Vendor": "me"}, "Databricks sets the tag Vendor itself"),
        (DATAPROC, {"goog-team": "a"}, "is no label of Google Cloud"),
        (AWS, MANY, "there are 46 tags; databricks-aws takes 45: leave some out"),
        (DATAPROC, MANY, "there are 46 tags; dataproc takes 30: leave some out"),
    ],
)
def test_what_the_cloud_refuses_or_renames_is_refused_with_the_fix(platform, tags, said):
    with pytest.raises(ConfigurationError, match=said):
        check_tags(tags, platform)


@pytest.mark.parametrize("platform", platforms())
def test_terraform_finds_the_same_rules_in_the_facts(platform):
    facts = json.loads((files("server_utils") / "data" / "clusters.json").read_text(encoding="utf-8"))["platforms"]
    rules, rendered = tag_rules(platform), facts[platform]["tags"]
    assert (rendered["name"], rendered["value"], rendered["most"]) == (rules.name, rules.value, rules.most)
    assert (tuple(rendered["prefixes"]), tuple(rendered["reserved"])) == (rules.prefixes, rules.reserved)
    # Go's patterns, which Terraform has, know no look-ahead.
    assert "(?" not in rules.name + rules.value
    assert re.compile(rules.name)
