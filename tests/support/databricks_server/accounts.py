"""Users, service principals and their tokens; and what each may do in the workspace as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from support.databricks_server.refusals import Refusal, denied, missing

TOKEN = "dapi-a-token-that-no-log-may-hold"
ME = "someone@example.com"


@dataclass(frozen=True)
class Group:
    """A group of the workspace. readable: whether its members may read its entitlements."""

    name: str
    may_create_clusters: bool = False
    readable: bool = True

    @property
    def id(self):
        return f"group-{self.name}"


@dataclass(frozen=True)
class Account:
    """name: an address, or the application id of a service principal. home: whether its folder exists already.

    may_create_clusters: by itself; its groups may let it too.
    """

    name: str
    token: str
    admin: bool = False
    may_create_clusters: bool = True
    home: bool = True
    groups: tuple = ()

    @property
    def all_groups(self):
        return (Group("users"), *([Group("admins", may_create_clusters=True)] if self.admin else []), *self.groups)

    @property
    def creates_clusters(self):
        return self.may_create_clusters or any(each.may_create_clusters for each in self.all_groups)


class Accounts:
    """All who have a token. The first is an administrator."""

    def __init__(self):
        self._by_token = {}
        self.add(Account(ME, TOKEN, admin=True))

    def add(self, account):
        self._by_token[account.token] = account
        return account

    def of(self, authorization):
        """The account of a request. Raises Refusal for a token that is missing or unknown."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer":
            words = "Credential was not sent or was of an unsupported type for this API."
            raise Refusal(401, "UNAUTHENTICATED", words)
        if token not in self._by_token:
            raise denied("Invalid access token.")
        return self._by_token[token]

    def named(self, name):
        return next((each for each in self._by_token.values() if each.name == name), None)

    def all(self):
        return list(self._by_token.values())

    def routes(self):
        scim = "/api/2.0/preview/scim/v2"
        return {f"GET {scim}/Me": self._me, f"GET {scim}/Groups/{{id}}": self._group}

    def _group(self, request):
        groups = {each.id: each for account in self.all() for each in account.all_groups}
        if request.parts["id"] not in groups:
            raise missing(f"Group with id {request.parts['id']} not found.", "RESOURCE_DOES_NOT_EXIST")
        group = groups[request.parts["id"]]
        if not group.readable and not request.user.admin:
            raise denied("Only administrators can read groups.")
        return {"id": group.id, "displayName": group.name} | _entitled(group)

    def _me(self, request):
        """As the real API: the entitlements of a user's groups are not among the user's own."""
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "7000000000000001",
            "userName": request.user.name,
            "displayName": request.user.name,
            "active": True,
            "groups": [{"display": g.name, "type": "direct", "value": g.id} for g in request.user.all_groups],
        } | _entitled(request.user)


def _entitled(who):
    entitlements = ["workspace-access", *(["allow-cluster-create"] if who.may_create_clusters else [])]
    return {"entitlements": [{"value": each} for each in entitlements]}
