"""Unity Catalog: catalogs, schemas and volumes, who owns them, and what was granted on them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from support.databricks_server.accounts import ME
from support.databricks_server.messages import page
from support.databricks_server.refusals import Refusal, denied, invalid, missing

_KINDS = ("CATALOG", "SCHEMA", "VOLUME")
_NAME = re.compile(r"[^\s./]{1,255}")
_USE = {"CATALOG": "USE_CATALOG", "SCHEMA": "USE_SCHEMA"}
_PREFIX = "/api/2.1/unity-catalog"
_EVERYONE = "account users"


@dataclass
class Securable:
    """full_name: joined by dots. grants: principal -> set of privileges."""

    kind: str
    full_name: str
    owner: str
    given: dict
    grants: dict = field(default_factory=dict)

    def body(self):
        names = self.full_name.split(".")
        body = {"name": names[-1], "full_name": self.full_name, "owner": self.owner, "metastore_id": "m-1"} | self.given
        if self.kind == "VOLUME":
            return body | {"volume_id": f"v-{self.full_name}", "storage_location": f"s3://bucket/{'/'.join(names)}"}
        return body | {"catalog_type": "MANAGED_CATALOG"}


class Unity:
    """folder: of this host; a volume is a folder below it, which nodes see as /Volumes."""

    def __init__(self, folder):
        self.folder = folder
        self.securables = {}
        self.create(ME, "CATALOG", "main", {})
        self.create(ME, "SCHEMA", "main.default", {"catalog_name": "main"})

    def create(self, owner, kind, full_name, given):
        self.securables[full_name] = Securable(kind, full_name, owner, given)
        if kind == "VOLUME":
            (self.folder / full_name.replace(".", "/")).mkdir(parents=True)
        return self.securables[full_name]

    def find(self, kind, full_name):
        securable = self.securables.get(full_name)
        if securable is None or securable.kind != kind:
            code = "RESOURCE_DOES_NOT_EXIST" if kind == "VOLUME" else f"{kind}_DOES_NOT_EXIST"
            raise missing(f"{kind.title()} '{full_name}' does not exist.", code)
        return securable

    def grant(self, principal, privilege, full_name):
        self.securables[full_name].grants.setdefault(principal, set()).add(privilege)

    def require(self, user, privilege, full_name):
        """Refuse a user who lacks a privilege, or the right to use what holds the securable."""
        names = full_name.split(".")
        for depth, kind in enumerate(_KINDS[: len(names)]):
            each = self.find(kind, ".".join(names[: depth + 1]))
            last = depth + 1 == len(names)
            needed = privilege if last else _USE[kind]
            if not self._has(user, needed, each.full_name):
                shown = needed.replace("_", " ")
                raise denied(f"User does not have {shown} on {kind.title()} '{each.full_name}'.")

    def _has(self, user, privilege, full_name):
        if user.admin:
            return True
        names = (user.name, _EVERYONE, *(each.name for each in user.all_groups))
        for each in self._with_parents(full_name):
            if each.owner in names:
                return True
            held = set().union(*(each.grants.get(name, set()) for name in names))
            if {privilege, "ALL_PRIVILEGES"} & held:
                return True
        return False

    def _with_parents(self, full_name):
        names = full_name.split(".")
        return [self.securables[".".join(names[:depth])] for depth in range(len(names), 0, -1)]

    def routes(self):
        routes = {
            f"GET {_PREFIX}/permissions/{{securable_type}}/{{full_name}}": self._granted,
            f"PATCH {_PREFIX}/permissions/{{securable_type}}/{{full_name}}": self._change_grants,
            f"GET {_PREFIX}/effective-permissions/{{securable_type}}/{{full_name}}": self._effective,
        }
        for kind in _KINDS:
            plural, key = f"{_PREFIX}/{kind.lower()}s", "full_name" if kind == "SCHEMA" else "name"
            routes[f"POST {plural}"] = lambda request, kind=kind: self._create(kind, request)
            routes[f"GET {plural}"] = lambda request, kind=kind: self._list(kind, request)
            routes[f"GET {plural}/{{{key}}}"] = lambda request, kind=kind, key=key: self._get(kind, request, key)
            routes[f"DELETE {plural}/{{{key}}}"] = lambda request, kind=kind, key=key: self._delete(kind, request, key)
        return routes

    def _create(self, kind, request):
        given = request.body
        parents = [given[key] for key in ("catalog_name", "schema_name") if key in given]
        full_name = ".".join([*parents, given["name"]])
        if not _NAME.fullmatch(given["name"]):
            raise invalid(f"Invalid name '{given['name']}': a name has no dots, slashes or spaces.")
        if parents:
            self.require(request.user, f"CREATE_{kind}", ".".join(parents))
        elif not request.user.admin:
            raise denied("User does not have CREATE CATALOG on Metastore 'metastore'.")
        if full_name in self.securables:
            raise Refusal(400, f"{kind}_ALREADY_EXISTS", f"{kind.title()} '{full_name}' already exists")
        return self.create(request.user.name, kind, full_name, dict(given)).body()

    def _list(self, kind, request):
        parent = [request.option(key) for key in ("catalog_name", "schema_name") if request.option(key)]
        if parent:
            self.require(request.user, _USE[_KINDS[len(parent) - 1]], ".".join(parent))
        before = "".join(f"{each}." for each in parent)
        seen = [s for s in self.securables.values() if s.kind == kind and s.full_name.startswith(before)]
        items, token = page(
            seen, token=request.option("page_token"), size=int(request.option("max_results") or 0) or 100
        )
        return {f"{kind.lower()}s": [s.body() for s in items]} | ({"next_page_token": token} if token else {})

    def _get(self, kind, request, key):
        securable = self.find(kind, request.parts[key])
        self.require(request.user, _USE.get(kind, "READ_VOLUME"), securable.full_name)
        return securable.body()

    def _delete(self, kind, request, key):
        securable = self.find(kind, request.parts[key])
        if not (
            request.user.admin or request.user.name in {each.owner for each in self._with_parents(securable.full_name)}
        ):
            raise denied(f"User is not an owner of {kind.title()} '{securable.full_name}'.")
        below = [name for name in self.securables if name.startswith(f"{securable.full_name}.")]
        if below and request.option("force") != "true":
            raise Refusal(400, "INVALID_STATE", f"{kind.title()} '{securable.full_name}' is not empty.")
        for name in [securable.full_name, *below]:
            del self.securables[name]
        return {}

    def _securable(self, request):
        return self.find(request.parts["securable_type"].upper(), request.parts["full_name"])

    def _granted(self, request):
        return _assignments(self._securable(request).grants, request.option("principal"))

    def _change_grants(self, request):
        securable = self._securable(request)
        for change in request.body.get("changes") or []:
            held = securable.grants.setdefault(change["principal"], set())
            held |= set(change.get("add") or [])
            held -= set(change.get("remove") or [])
        return _assignments(securable.grants, None)

    def _effective(self, request):
        """What was granted here or above. What an owner or an administrator may do is not in it, as in the real API."""
        securable, wanted = self._securable(request), request.option("principal")
        held = {}
        for each in self._with_parents(securable.full_name):
            from_above = {"inherited_from_type": each.kind, "inherited_from_name": each.full_name}
            for principal, privilege in _pairs(each.grants, wanted):
                entry = {"privilege": privilege} | ({} if each is securable else from_above)
                held.setdefault(principal, []).append(entry)
        return {"privilege_assignments": [{"principal": p, "privileges": entries} for p, entries in held.items()]}


def _pairs(grants, wanted):
    chosen = {p: held for p, held in grants.items() if wanted in {None, p}}
    return itertools.chain.from_iterable(((p, each) for each in sorted(held)) for p, held in chosen.items())


def _assignments(grants, wanted):
    shown = {p: sorted(held) for p, held in grants.items() if held and wanted in {None, p}}
    return {"privilege_assignments": [{"principal": p, "privileges": held} for p, held in shown.items()]}
