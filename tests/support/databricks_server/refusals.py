"""The errors of the REST API: a status, a code and a sentence, worded as the service words them."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  # an answer of the service, and no fault of the server
    """A request that is not carried out. headers: of the answer, such as Retry-After."""

    def __init__(self, status, code, message, **headers):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers

    def body(self):
        return {"error_code": self.code, "message": str(self)}


def malformed(message):
    """A request that cannot be parsed: an unknown field, or a value of another type."""
    return Refusal(400, "MALFORMED_REQUEST", f"Could not parse request object: {message}")


def invalid(message):
    return Refusal(400, "INVALID_PARAMETER_VALUE", message)


def missing(message, code="RESOURCE_DOES_NOT_EXIST"):
    return Refusal(404, code, message)


def denied(message):
    return Refusal(403, "PERMISSION_DENIED", message)
