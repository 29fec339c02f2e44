"""Users, service principals and their tokens; and what each may do in the workspace as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from support.databricks_server.refusals import Refusal, denied

TOKEN = "dapi-a-token-that-no-log-may-hold"
ME = "someone@example.com"


@dataclass(frozen=True)
class Account:
    """name: an address, or the application id of a service principal. home: whether its folder exists already."""

    name: str
    token: str
    admin: bool = False
    may_create_clusters: bool = True
    home: bool = True


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
        return {"GET /api/2.0/preview/scim/v2/Me": self._me}

    def _me(self, request):
        entitlements = ["workspace-access", *(["allow-cluster-create"] if request.user.may_create_clusters else [])]
        groups = ["users", *(["admins"] if request.user.admin else [])]
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "7000000000000001",
            "userName": request.user.name,
            "displayName": request.user.name,
            "active": True,
            "entitlements": [{"value": each} for each in entitlements],
            "groups": [{"display": each, "type": "direct", "value": each} for each in groups],
        }
