"""The codes with which Databricks ends a cluster: each that a user meets has a meaning and a fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from databricks.sdk.service.compute import (
    ClusterDetails,
    ClusterEvent,
    EventType,
    TerminationReason,
    TerminationReasonCode,
)

from csp.databricks.failures import MEANINGS, failure_of

README = Path(__file__).parents[4] / "csp" / "databricks" / "README.md"
TABLE = README.read_text().partition("## Errors, and what to do")[2]
CODES = sorted(set(re.findall(r"`([A-Z]+_[A-Z_]+)`", TABLE)))


@pytest.mark.parametrize("code", CODES)
def test_a_code_of_the_first_hour_is_explained_by_the_command_too(code):
    assert MEANINGS[code].reason
    assert MEANINGS[code].fix


def test_the_table_has_codes():
    assert {"INIT_SCRIPT_FAILURE", "AWS_RESOURCE_QUOTA_EXCEEDED", "TRIAL_EXPIRED"} <= set(CODES)


def test_a_volume_that_nodes_may_not_read_is_the_cause_of_an_init_script_that_wrote_no_log():
    reason = TerminationReason(TerminationReasonCode.INIT_SCRIPT_FAILURE)
    events = [
        ClusterEvent("1", type=EventType(kind)) for kind in ("TERMINATING", "UC_VOLUME_MISCONFIGURED", "CREATING")
    ]
    details = ClusterDetails(termination_reason=reason)
    failure = failure_of(details, lambda: events, lambda: "")
    assert (failure.code, failure.reason) == ("INIT_SCRIPT_FAILURE", "the cluster may not read the volume")
    assert "Grant READ VOLUME" in failure.fix
    of_an_older_life = [events[0], events[2], events[1]]
    assert "volume" not in failure_of(details, lambda: of_an_older_life, lambda: "").reason
    assert "volume" not in failure_of(details, lambda: events, lambda: "error: no space left").reason
