"""The flags of a gcloud command, read without gcloud: what tests compare clusters of Dataproc by."""

from __future__ import annotations


def flags(words):
    """The flags of a gcloud command: name -> value, maps as maps, and the components, which have no order, sorted."""
    parsed = {}
    for word in words[5:]:
        name, _, value = word.removeprefix("--").partition("=")
        if value.startswith("^#^"):
            value = dict(each.split("=", 1) for each in value.removeprefix("^#^").split("#"))
        parsed[name] = sorted(value.split(",")) if name == "optional-components" else value
    return parsed


def differences(ours, theirs):
    """Fields that one has and the other lacks or has otherwise, by name."""
    return {key: (ours.get(key), theirs.get(key)) for key in ours | theirs if ours.get(key) != theirs.get(key)}
