"""The clusters API: create, find, list, events, resize, end, forget."""

from __future__ import annotations

import itertools
import zlib

from support.databricks_server.cluster_life import Cluster
from support.databricks_server.messages import page
from support.databricks_server.refusals import Refusal, denied, invalid

_API = "/api/2.1/clusters"
_LISTED_S = 30 * 24 * 3600  # so long a terminated cluster is still listed
_VENDOR = "Databricks"


class Clusters:
    """All clusters, by id."""

    def __init__(self, clock, life, checks, policies, plan):
        self._clock, self._life, self._checks, self._policies, self._plan = clock, life, checks, policies, plan
        self._numbers = itertools.count(1)
        self.all = {}

    def routes(self):
        return {
            f"POST {_API}/create": self._create,
            f"GET {_API}/get": self._get,
            f"GET {_API}/list": self._list,
            f"POST {_API}/events": self._events,
            f"POST {_API}/edit": self._edit,
            f"POST {_API}/resize": self._resize,
            f"POST {_API}/start": self._start,
            f"POST {_API}/restart": self._restart,
            f"POST {_API}/delete": self._delete,
            f"POST {_API}/permanent-delete": self._forget,
            f"POST {_API}/pin": lambda request: self._pin(request, pinned=True),
            f"POST {_API}/unpin": lambda request: self._pin(request, pinned=False),
            f"GET {_API}/list-zones": lambda _: {"default_zone": "us-west-2a", "zones": ["us-west-2a", "us-west-2b"]},
        }

    def create(self, user, spec, source="API"):
        """Make a cluster. Raises Refusal."""
        spec = self._policies.apply(user, spec)
        self._checks.check(spec)
        number = next(self._numbers)
        cluster_id = f"1126-{number:06}-{zlib.crc32(str(number).encode()):08x}"
        spec = _with_defaults(spec, user)
        cluster = Cluster(cluster_id, spec, user.name, self._life, self._plan.next_cluster(), source)
        self.all[cluster_id] = cluster
        self._life.start(cluster, "CREATING")
        return cluster

    def find(self, cluster_id):
        """A cluster as it is by now. Raises Refusal if there is none."""
        self._forget_old()
        if cluster_id not in self.all:
            raise invalid(f"Cluster {cluster_id} does not exist")
        self.all[cluster_id].advance()
        return self.all[cluster_id]

    def _forget_old(self):
        before = self._clock.milliseconds() - _LISTED_S * 1000
        old = [c.cluster_id for c in self.all.values() if c.state == "TERMINATED" and c.ended < before and not c.pinned]
        for each in old:
            del self.all[each]

    def _managed(self, request):
        """The cluster of a request that changes it: its creator may, and administrators."""
        cluster = self.find(request.body["cluster_id"])
        if not request.user.admin and cluster.creator != request.user.name:
            raise denied(f"{request.user.name} does not have Manage permissions on cluster {cluster.cluster_id}.")
        return cluster

    def _create(self, request):
        return {"cluster_id": self.create(request.user, request.body).cluster_id}

    def _get(self, request):
        return view(self.find(request.option("cluster_id")))

    def _list(self, request):
        self._forget_old()
        shown = [self.find(each) for each in self.all]
        kept = [each for each in reversed(shown) if _matches(each, request)]
        size = int(request.option("page_size") or 20)
        if not 1 <= size <= 100:
            raise invalid("page_size must be between 1 and 100.")
        items, token = page(kept, token=request.option("page_token"), size=size)
        return {"clusters": [view(each) for each in items]} | ({"next_page_token": token} if token else {})

    def _events(self, request):
        given = request.body
        cluster = self.find(given["cluster_id"])
        events = [each for each in cluster.events if each["type"] in (given.get("event_types") or [each["type"]])]
        events = [e for e in events if given.get("start_time", 0) <= e["timestamp"] <= given.get("end_time", 1 << 60)]
        if given.get("order", "DESC") == "DESC":
            events.reverse()
        offset, limit = given.get("offset", 0), given.get("limit", 50)
        answer = {"events": events[offset : offset + limit], "total_count": len(events)}
        more = {"next_page": given | {"offset": offset + limit, "limit": limit}} if offset + limit < len(events) else {}
        return answer | more

    def _edit(self, request):
        cluster = self._managed(request)
        if cluster.state not in {"RUNNING", "TERMINATED"}:
            raise _state(cluster, "edit")
        spec = self._policies.apply(request.user, {k: v for k, v in request.body.items() if k != "cluster_id"})
        self._checks.check(spec)
        cluster.spec = _with_defaults(spec, request.user)
        cluster.note("EDITED", user=request.user.name)
        if cluster.state == "RUNNING":
            self._life.start(cluster, "RESTARTING")
        return {}

    def _resize(self, request):
        cluster = self._managed(request)
        if cluster.state != "RUNNING":
            raise _state(cluster, "resize")
        sizes = {k: request.body[k] for k in ("num_workers", "autoscale") if request.body.get(k) is not None}
        rest = {k: v for k, v in cluster.spec.items() if k not in {"num_workers", "autoscale"}}
        self._checks.check(rest | sizes)
        cluster.spec = rest | sizes
        self._life.resize(cluster)
        return {}

    def _start(self, request):
        cluster = self._managed(request)
        if cluster.state != "TERMINATED":
            raise _state(cluster, "start")
        self.start(cluster)
        return {}

    def start(self, cluster):
        self._life.start(cluster, "STARTING")

    def _restart(self, request):
        cluster = self._managed(request)
        if cluster.state != "RUNNING":
            raise _state(cluster, "restart")
        self._life.start(cluster, "RESTARTING")
        cluster.state = "RESTARTING"
        return {}

    def _delete(self, request):
        cluster = self._managed(request)
        if cluster.alive or cluster.state == "ERROR":
            self.stop(cluster, request.user)
        return {}

    def stop(self, cluster, user, code="USER_REQUEST"):
        self._life.stop(cluster, {"code": code, "type": "SUCCESS", "parameters": {"username": user.name}})

    def _forget(self, request):
        cluster = self._managed(request)
        if cluster.pinned:
            raise invalid(f"Cluster {cluster.cluster_id} is pinned; unpin it before you delete it permanently.")
        self._life.forget(cluster)
        del self.all[cluster.cluster_id]
        return {}

    def _pin(self, request, *, pinned):
        if not request.user.admin:
            raise denied("Only administrators can pin clusters.")
        cluster = self._managed(request)
        cluster.pinned = pinned
        cluster.note("PINNED" if pinned else "UNPINNED", user=request.user.name)
        return {}


def _state(cluster, verb):
    words = f"Cluster {cluster.cluster_id} is in unexpected state {cluster.state.title()}: it cannot {verb}."
    return Refusal(400, "INVALID_STATE", words)


def _with_defaults(spec, user):
    """What the service adds to a spec that says nothing of it."""
    spec = {name: value for name, value in spec.items() if value is not None}
    mode = {"data_security_mode": "SINGLE_USER"} | spec
    single = {"single_user_name": user.name} if mode["data_security_mode"] == "SINGLE_USER" else {}
    return single | {"autotermination_minutes": 120, "driver_node_type_id": spec["node_type_id"]} | mode


def _matches(cluster, request):
    states = request.query.get("filter_by.cluster_states") or [cluster.state]
    sources = request.query.get("filter_by.cluster_sources") or [cluster.source]
    pinned = request.option("filter_by.is_pinned") in {None, str(cluster.pinned).lower()}
    policy = request.option("filter_by.policy_id") in {None, cluster.spec.get("policy_id")}
    return cluster.state in states and cluster.source in sources and pinned and policy


def view(cluster):
    """A cluster as the API shows it."""
    spec = {k: v for k, v in cluster.spec.items() if k != "apply_policy_default_values"}
    nodes = [_node(cluster, number) for number in range(cluster.workers + 1)]
    up = cluster.state in {"RUNNING", "RESIZING"}
    tags = {"Vendor": _VENDOR, "Creator": cluster.creator, "ClusterName": spec.get("cluster_name", ""),
            "ClusterId": cluster.cluster_id}  # fmt: skip
    shown = spec | {
        "cluster_id": cluster.cluster_id,
        "cluster_source": cluster.source,
        "creator_user_name": cluster.creator,
        "default_tags": tags,
        "spec": spec,
        "start_time": cluster.started,
        "state": cluster.state,
        "state_message": cluster.message,
    }
    shown |= {"driver": nodes[0], "executors": nodes[1:], "spark_context_id": 1 << 60} if up else {}
    shown |= {"termination_reason": cluster.reason} if cluster.reason else {}
    return shown | ({"terminated_time": cluster.ended} if cluster.state == "TERMINATED" else {})


def _node(cluster, number):
    address = f"10.0.0.{number + 1}"
    return {"node_id": f"{cluster.cluster_id}-{number}", "instance_id": f"i-{number:08x}", "private_ip": address,
            "host_private_ip": address, "start_timestamp": cluster.started}  # fmt: skip
