"""Cluster policies: what they fix, allow and forbid, and who may use them."""

from __future__ import annotations

import itertools
import json
import re

from support.databricks_server.messages import page
from support.databricks_server.refusals import denied, invalid, missing

_API = "/api/2.0/policies/clusters"


class Policies:
    """policies: id -> body, as the API shows it. users: id -> names of those who may use it, besides administrators."""

    def __init__(self, clock):
        self._clock = clock
        self._numbers = itertools.count(1)
        self.policies, self.users = {}, {}

    def add(self, name, definition, *, creator, users=()):
        """A policy; definition: path of an attribute -> rule. Returns its id."""
        policy_id = f"ABC{next(self._numbers):013}"
        self.policies[policy_id] = {
            "policy_id": policy_id, "name": name, "definition": json.dumps(definition), "creator_user_name": creator,
            "created_at_timestamp": self._clock.milliseconds(), "is_default": False
        }  # fmt: skip
        self.users[policy_id] = set(users)
        return policy_id

    def routes(self):
        return {
            f"POST {_API}/create": self._create,
            f"GET {_API}/get": lambda request: self._find(request.option("policy_id")),
            f"GET {_API}/list": self._list,
            f"POST {_API}/delete": self._delete,
        }

    def _find(self, policy_id):
        if policy_id not in self.policies:
            raise missing(f"Can't find a cluster policy with id: {policy_id}.")
        return self.policies[policy_id]

    def _create(self, request):
        if not request.user.admin:
            raise denied("Only administrators can create cluster policies.")
        try:
            definition = json.loads(request.body.get("definition") or "{}")
        except ValueError as error:
            raise invalid(f"Policy definition is not valid JSON: {error}") from error
        if request.body.get("name") in {each["name"] for each in self.policies.values()}:
            raise invalid(f"A policy with the name {request.body['name']} already exists.")
        return {"policy_id": self.add(request.body["name"], definition, creator=request.user.name)}

    def _may_use(self, user, policy_id):
        return user.admin or user.name in self.users[policy_id]

    def _list(self, request):
        usable = [body for policy_id, body in self.policies.items() if self._may_use(request.user, policy_id)]
        items, token = page(usable, token=request.option("page_token"), size=100)
        return {"policies": items, "total_count": len(usable)} | ({"next_page_token": token} if token else {})

    def _delete(self, request):
        self._find(request.body["policy_id"])
        del self.policies[request.body["policy_id"]]
        return {}

    def apply(self, user, spec):
        """The spec with what its policy fixes. Raises Refusal where it goes against the policy, or none may be used."""
        policy_id = spec.get("policy_id")
        if policy_id is None:
            if not user.creates_clusters:
                raise denied("You are not authorized to create clusters. Please contact your administrator.")
            return spec
        rules = json.loads(self._find(policy_id)["definition"])
        if not self._may_use(user, policy_id):
            raise denied(f"User {user.name} does not have CAN_USE permission on the policy {policy_id}.")
        defaults = spec.get("apply_policy_default_values")
        for path, rule in rules.items():
            spec = _ruled(spec, path, rule, defaults=defaults)
        return spec


def _ruled(spec, path, rule, *, defaults):
    value, kind = _value(spec, path), rule["type"]
    if value is None:
        if kind == "fixed":
            return _with(spec, path, rule["value"])
        if defaults and "defaultValue" in rule:
            return _with(spec, path, rule["defaultValue"])
        if kind in {"allowlist", "regex", "range"} and not rule.get("isOptional"):
            raise invalid(f"Validation failed for {path}, the value must be present")
        return spec
    if problem := _problem(value, rule):
        raise invalid(f"Validation failed for {path}, {problem} (is {json.dumps(value)})")
    return spec


def _problem(value, rule):
    """What is wrong with a value, or None."""
    checks = {
        "fixed": lambda: value == rule["value"] or f"the value must be {json.dumps(rule['value'])}",
        "forbidden": lambda: "the value must not be present",
        "allowlist": lambda: value in rule["values"] or f"the value must be one of {json.dumps(rule['values'])}",
        "blocklist": lambda: (
            value not in rule["values"] or f"the value must not be one of {json.dumps(rule['values'])}"
        ),
        "regex": lambda: bool(re.fullmatch(rule["pattern"], str(value))) or f"the value must match {rule['pattern']}",
        "range": lambda: (
            rule.get("minValue", value) <= value <= rule.get("maxValue", value)
            or f"the value must be from {rule.get('minValue')} to {rule.get('maxValue')}"
        ),
        "unlimited": lambda: True,
    }
    message = checks[rule["type"]]()
    return None if message is True else message


def _names(path):
    """Names along a path. A Spark setting has dots of its own: what follows spark_conf is one name."""
    first, _, rest = path.partition(".")
    return [first] if not rest else [first, rest]


def _value(spec, path):
    for name in _names(path):
        spec = (spec or {}).get(name)
    return spec


def _with(spec, path, value):
    first, *rest = _names(path)
    return spec | {first: {**(spec.get(first) or {}), rest[0]: value} if rest else value}
