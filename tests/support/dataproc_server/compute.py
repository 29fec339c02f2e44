"""The REST APIs around Dataproc on loopback: Compute, Service Usage, Resource Manager, IAM and who one is.

What is sold where and which quota is left is here, for the checks of a client and for Dataproc's own.
"""

from __future__ import annotations

import re
from collections import Counter

from support.dataproc_server.json_http import JsonServer

_CPU = {"n2-standard-8", "n1-standard-8", "n1-standard-16"}
_GPU = {"g2-standard-12": "NVIDIA_L4_GPUS", "g2-standard-24": "NVIDIA_L4_GPUS", "nvidia-tesla-t4": "NVIDIA_T4_GPUS"}
_GPUS_OF = {"g2-standard-12": 1, "g2-standard-24": 2}
ALL_GPUS = "GPUS_ALL_REGIONS"
NUMBER = "123456789012"
DEFAULT_ACCOUNT = f"{NUMBER}-compute@developer.gserviceaccount.com"


class Compute:
    """What the project has and may. Everything may be changed by a test.

    Attributes:
        zones: zone -> names of machine types and GPU types that are sold there.
        limits, used: quota by metric.
        services: the APIs that are on.
        permissions: what the caller may; None for everything.
        roles: the policy of the project, role -> members; None where the caller may not read it.
        parent: the folder or organization above the project; None for a project of a person.
        email: who the caller is.
        requests: method and path of every request.
        lines: entries of Cloud Logging, each with the `uuid` of its cluster.
        failing: pattern of a path -> (HTTP status, message).
        expired: what the server of tokens says of a sign-in that is over; nothing here gives tokens.
    """

    def __init__(self, project):
        self.project = project
        self.zones = {f"us-central1-{letter}": _CPU | set(_GPU) for letter in "abc"} | {"us-central1-f": set(_CPU)}
        self.limits = Counter(dict.fromkeys((*_GPU.values(), ALL_GPUS), 8))
        self.used = Counter()
        self.services = {f"{name}.googleapis.com" for name in ("dataproc", "compute", "storage", "iam")}
        self.email = "ann@example.com"
        self.permissions: set[str] | None = None
        self.roles: dict[str, set[str]] | None = {"roles/editor": {f"serviceAccount:{DEFAULT_ACCOUNT}"}}
        self.parent: dict[str, str] | None = None
        self.expired = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        self.failing: dict[str, tuple[int, str]] = {}
        self.requests: list[str] = []
        self.lines: list[dict] = []
        self.http = JsonServer(self.answer)
        self.url, self.close = self.http.url, self.http.close

    def free(self, metric):
        return self.limits[metric] - self.used[metric]

    def needed(self, config):
        """GPUs by metric that a cluster takes."""
        needed = Counter()
        for group in (config.master_config, config.worker_config):
            nodes = group.num_instances
            gpus = {group.machine_type_uri: _GPUS_OF.get(group.machine_type_uri, 0)}
            gpus |= {each.accelerator_type_uri: each.accelerator_count for each in group.accelerators}
            for name, count in gpus.items():
                if count:
                    needed.update({_GPU[name]: count * nodes, ALL_GPUS: count * nodes})
        return needed

    def answer(self, method, path, query, body):
        """The body of an answer, or (status, message)."""
        self.requests.append(f"{method} {path}")
        for pattern, error in self.failing.items():
            if re.search(pattern, path):
                return error
        for pattern, reply in _ROUTES.items():
            if match := re.fullmatch(pattern, path):
                return reply(self, *match.groups(), query=query, body=body)
        return 404, f"no such path: {path}"

    def user(self, *, query, body):
        return {"email": self.email} if self.email else {}

    def token(self, *, query, body):
        return 400, self.expired

    def enabled(self, project, *, query, body):
        return {
            "services": [
                {"name": name, "state": "ENABLED" if name.rpartition("/")[2] in self.services else "DISABLED"}
                for name in query["names"]
            ]
        }

    def allowed(self, _resource, *, query, body):
        asked = [each for each in body["permissions"] if self.roles is not None or not each.endswith("getIamPolicy")]
        return {"permissions": [each for each in asked if self.permissions is None or each in self.permissions]}

    def policy(self, project, *, query, body):
        if self.roles is None:
            return 403, "The caller does not have permission"
        unknown = set(body) - {"options"} | set(body.get("options", {})) - {"requestedPolicyVersion"}
        if unknown:
            return 400, f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
        return {"version": 1, "etag": "BwX=", "bindings": bindings(self.roles)}

    def described(self, project, *, query, body):
        facts = {"projectNumber": NUMBER, "projectId": project, "lifecycleState": "ACTIVE"}
        return facts | ({"parent": self.parent} if self.parent else {})

    def sold(self, project, kind, *, query, body):
        name = query["filter"][0].partition("=")[2].strip('" ')
        zones = {f"zones/{zone}": {kind: [{"name": name}]} for zone, sold in self.zones.items() if name in sold}
        nowhere = {f"zones/{zone}": {"warning": {}} for zone, sold in self.zones.items() if name not in sold}
        return {"items": zones | nowhere}

    def project_quota(self, project, *, query, body):
        quotas = self._quotas(lambda metric: metric.endswith("ALL_REGIONS"))
        return {"defaultServiceAccount": DEFAULT_ACCOUNT, "quotas": quotas}

    def region_quota(self, project, region, *, query, body):
        return {"quotas": self._quotas(lambda metric: not metric.endswith("ALL_REGIONS"))}

    def entries(self, *, query, body):
        return {"entries": [each for each in reversed(self.lines) if each["uuid"] in body["filter"]]}

    def _quotas(self, wanted):
        metrics = filter(wanted, self.limits)
        return [{"metric": each, "limit": self.limits[each], "usage": self.used[each]} for each in metrics]


def bindings(roles):
    """The grants of a policy, as APIs write them."""
    return [{"role": role, "members": sorted(members)} for role, members in sorted(roles.items())]


_ROUTES = {
    "/token": Compute.token,
    "/oauth2/v3/userinfo": Compute.user,
    "/v2/entries:list": Compute.entries,
    "/v1/projects/([^/]+)/services:batchGet": Compute.enabled,
    "/v1/projects/([^/]+):testIamPermissions": Compute.allowed,
    "/v1/projects/([^/]+):getIamPolicy": Compute.policy,
    "/v1/projects/([^/:]+)": Compute.described,
    "/v1/projects/-/serviceAccounts/([^/]+):testIamPermissions": Compute.allowed,
    "/compute/v1/projects/([^/]+)/aggregated/(machineTypes|acceleratorTypes)": Compute.sold,
    "/compute/v1/projects/([^/]+)/regions/([^/]+)": Compute.region_quota,
    "/compute/v1/projects/([^/]+)": Compute.project_quota,
}
