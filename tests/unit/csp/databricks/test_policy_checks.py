"""Cluster policies: what they allow, forbid, and what cannot be compared."""

from __future__ import annotations

import json

import pytest
from support.databricks_server.faults import Fault

from csp import deployer
from csp.cloud import Exit
from csp.databricks.deployer import connect
from csp.up import up
from unit.csp.databricks.workspace import VOLUME, checks_named, refusal
from unit.csp.deployments import new_session


def test_a_policy_that_may_not_be_read_is_said_and_not_refused(server, wanted):
    server.plan.faults.append(Fault("GET /api/2.0/policies/clusters/get", 403, "PERMISSION_DENIED", "no"))
    with_policy = new_session(connect(volume=VOLUME, policy="p"), server.clock)
    (check,) = checks_named(with_policy, wanted, "policy")
    assert check.passed
    assert "could not be checked: reading the policy is not allowed" in check.detail


@pytest.fixture
def under_policy(server, session):
    """Makes a policy of rules, and the session of its user: under_policy({path: rule})."""

    def make(rules):
        made = session.cloud._client.cluster_policies.create(name="GPUs", definition=json.dumps(rules))
        return new_session(connect(volume=VOLUME, policy=made.policy_id), server.clock)

    return make


def test_a_cluster_that_its_policy_allows_is_made(under_policy, wanted):
    rules = {
        "node_type_id": {"type": "allowlist", "values": ["g5.4xlarge", "g6.4xlarge"]},
        "num_workers": {"type": "range", "maxValue": 4},
        "spark_env_vars.FRAMEWORK": {"type": "regex", "pattern": "vllm|triton"},
        "autotermination_minutes": {"type": "fixed", "value": 60},
        "custom_tags.team": {"type": "fixed", "value": "a"},
        "instance_pool_id": {"type": "forbidden"},
        "runtime_engine": {"type": "blocklist", "values": ["PHOTON"]},
        "cluster_type": {"type": "fixed", "value": "all-purpose"},
    }
    assert up(under_policy(rules), wanted).is_ready


@pytest.mark.parametrize(
    ("path", "rule", "expected"),
    [
        ("node_type_id", {"type": "allowlist", "values": ["g4dn.xlarge"]}, "g5.4xlarge, and allowed are g4dn.xlarge"),
        ("num_workers", {"type": "range", "maxValue": 1}, "num_workers is 2, and it must be from any to 1"),
        ("data_security_mode", {"type": "fixed", "value": "USER_ISOLATION"}, "it is fixed to USER_ISOLATION"),
        ("spark_env_vars.FRAMEWORK", {"type": "regex", "pattern": "triton"}, "vllm, and it must match triton"),
        ("runtime_engine", {"type": "blocklist", "values": ["STANDARD"]}, "STANDARD, and this is blocked"),
        ("init_scripts", {"type": "forbidden"}, "it must be left out"),
    ],
)
def test_what_a_policy_does_not_allow_is_found_before_anything_is_made(under_policy, wanted, path, rule, expected):
    message = refusal(lambda: up(under_policy({path: rule}), wanted), Exit.CHECK_FAILED)
    assert f"does not allow it: {path} is" in message
    assert expected in message
    assert "give the options that it allows, or another --policy" in message


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("spark_version", {"type": "range", "maxValue": 4}),
        ("spark_env_vars.FRAMEWORK", {"type": "regex", "pattern": "(?<name>vllm)"}),
        ("num_workers", {"type": "range", "maxValue": "many"}),
    ],
)
def test_a_rule_of_a_policy_that_cannot_be_compared_is_said_and_not_refused(under_policy, wanted, path, rule):
    (checked,) = (each for each in deployer.check(under_policy({path: rule}), wanted) if each.name == "policy")
    assert checked.passed
    assert checked.detail.endswith(f"; {path} could not be compared")


def test_a_policy_that_is_not_there_is_found_before_anything_is_made(server, wanted):
    with_policy = new_session(connect(volume=VOLUME, policy="none"), server.clock)
    assert "there is no policy none" in refusal(lambda: up(with_policy, wanted), Exit.CHECK_FAILED)
