"""The same API as REST, for gcloud and for the library's own REST transports: paths and bodies are the library's."""

from __future__ import annotations

import re

from google.cloud import dataproc_v1 as dataproc
from google.cloud.dataproc_v1.services.cluster_controller.transports import rest_base as clusters
from google.cloud.dataproc_v1.services.job_controller.transports import rest_base as jobs
from google.cloud.dataproc_v1.services.workflow_template_service.transports import rest_base as workflows
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.rpc import code_pb2

from support.dataproc_server.errors import ApiError, invalid
from support.dataproc_server.json_http import JsonServer

_TRANSPORTS = {
    "ClusterController": clusters._BaseClusterControllerRestTransport,
    "JobController": jobs._BaseJobControllerRestTransport,
    "WorkflowTemplateService": workflows._BaseWorkflowTemplateServiceRestTransport,
}
_OPERATIONS = {
    "GetOperation": ("GET", "/v1/{name=projects/*/regions/*/operations/*}", operations_pb2.GetOperationRequest),
    "ListOperations": ("GET", "/v1/{name=projects/*/regions/*/operations}", operations_pb2.ListOperationsRequest),
    "CancelOperation": (
        "POST", "/v1/{name=projects/*/regions/*/operations/*}:cancel", operations_pb2.CancelOperationRequest,
    ),
}  # fmt: skip
_REQUESTS = {"SubmitJobAsOperation": "SubmitJobRequest"}
_STATUS = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500,
    "UNAVAILABLE": 503,
}  # fmt: skip
_NOT_FIELDS = {"alt", "$alt", "prettyPrint", "fields"}


class Rest:
    """handle(name of a method, request) -> answer, or raises ApiError. url: of the server."""

    def __init__(self, services, handle):
        self._handle = handle
        self._routes = [route for service, methods in services.items() for name in methods
                        for route in _routes(service.rpartition(".")[2], name)]  # fmt: skip
        self._http = JsonServer(self._answer)
        self.url, self.close = self._http.url, self._http.close

    def _answer(self, method, path, query, body):
        try:
            answer = self._handle(*self._request(method, path, query, body))
        except ApiError as error:
            name = code_pb2.Code.Name(error.status.code)
            return _STATUS[name], {"error": json_format.MessageToDict(error.status) | {"status": name}}
        message = type(answer).pb(answer) if hasattr(type(answer), "pb") else answer
        return json_format.MessageToDict(message)

    def _request(self, method, path, query, body):
        for verb, pattern, name, kind, body_field in self._routes:
            if verb == method and (match := pattern.fullmatch(path)):
                fields = {key: values[-1] for key, values in query.items() if key not in _NOT_FIELDS}
                fields |= match.groupdict() | (_body(body, body_field) if body else {})
                return name, _parsed(kind, fields)
        raise ApiError("NOT_FOUND", f"no such path: {method} {path}")


def _routes(service, name):
    if name in _OPERATIONS:
        verb, template, kind = _OPERATIONS[name]
        yield verb, _pattern(template), name, kind, None
    elif service in _TRANSPORTS:
        kind = getattr(dataproc, _REQUESTS.get(name, f"{name}Request"))
        for each in getattr(_TRANSPORTS[service], f"_Base{name}")._get_http_options():
            yield each["method"].upper(), _pattern(each["uri"]), name, kind, each.get("body")


def _pattern(template):
    """{project_id} is one part of a path, {name=projects/*} several."""
    parts = re.split(r"\{(\w+)(?:=([^}]*))?\}", template)
    pattern = re.escape(parts[0])
    for field, form, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{field}>{(form or '*').replace('*', '[^/:]+')}){re.escape(rest)}"
    return re.compile(pattern)


def _body(body, field):
    if field is None:
        raise invalid("This method takes no body")
    return body if field == "*" else {field: body}


def _parsed(kind, fields):
    """Unknown fields are refused, as the service refuses them."""
    message = kind.pb(kind()) if hasattr(kind, "pb") else kind()
    try:
        json_format.ParseDict(fields, message)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    return kind.wrap(message) if hasattr(kind, "wrap") else message
