"""The doctor in a session: the driver, and every executor."""

from __future__ import annotations

import os

from server_utils.node.doctor import check, check_session


def test_a_session_has_findings_of_the_driver_and_of_every_executor(spark):
    found = check_session(spark)
    assert len(found) == 3
    assert [each.name for each in found["driver"]] == [each.name for each in check()]
    for executor, findings in found.items():
        if executor != "driver":
            assert executor.startswith(f"{os.uname().nodename}/")
            assert {"GPU", "environment triton", "shared memory", "disk of home"} <= {each.name for each in findings}
            assert [each.fix for each in findings if each.level == "error"] == []
