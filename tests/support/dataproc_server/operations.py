"""Long-running operations of a fake service: each ends in a thread of its own, and late where a test holds it."""

from __future__ import annotations

import re
import threading
import uuid
from contextlib import contextmanager

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from support.dataproc_server.errors import ApiError, not_found

_LIMIT_S = 300  # of a test that forgets to let an operation go


class Operation:
    """One operation. metadata: a message of the library that `work` may change; finished: set with its end."""

    def __init__(self, name, kind, metadata, *, gate, cancel):
        self.name, self.kind, self.metadata, self.gate, self.cancel = name, kind, metadata, gate, cancel
        self.polls = 0
        self.finished = threading.Event()
        self._error = self._response = None

    def run(self, work):
        try:
            assert self.gate.wait(_LIMIT_S), f"nobody let {self.kind} go"
            self._response = work()
        except ApiError as error:
            self._error = error.status
        self.finished.set()

    def matches(self, terms):
        """terms: of a filter, such as clusterName and operationType."""
        there = {"clusterName": getattr(self.metadata, "cluster_name", None), "operationType": self.kind}
        there["status.state"] = "DONE" if self.finished.is_set() else "ACTIVE"
        return all(there.get(field) == value for field, value in terms.items())

    def message(self):
        message = operations_pb2.Operation(name=self.name, done=self.finished.is_set())
        message.metadata.Pack(type(self.metadata).pb(self.metadata))
        if message.done and self._error is not None:
            message.error.CopyFrom(self._error)
        elif message.done:
            response = self._response
            message.response.Pack(type(response).pb(response) if hasattr(type(response), "pb") else response)
        return message


class Operations:
    """google.longrunning.Operations.

    Attributes:
        on_poll: called with each operation that a client asks about.
        at_once: whether an operation has ended when its request is answered, so that nobody waits.
        page_size: of lists.
    """

    def __init__(self):
        self._all: dict[str, Operation] = {}
        self._gates: dict[str, threading.Event] = {}
        self.on_poll = lambda operation: None
        self.at_once, self.page_size = False, 100

    def start(self, kind, parent, metadata, work, *, cancel=None):
        """Begin `work`, which returns the response or raises ApiError. Returns the operation."""
        gate = self._gates.get(kind) or _open()
        operation = Operation(f"{parent}/operations/{uuid.uuid4()}", kind, metadata, gate=gate, cancel=cancel)
        self._all[operation.name] = operation
        if self.at_once and gate.is_set():
            operation.run(work)
        else:
            threading.Thread(target=operation.run, args=(work,), daemon=True).start()
        return operation

    @contextmanager
    def held(self, kind):
        """Operations of this kind that begin inside end when the event that it gives is set, or the block ends."""
        gate = self._gates[kind] = threading.Event()
        try:
            yield gate
        finally:
            del self._gates[kind]
            gate.set()

    def settle(self):
        """Wait for all operations that nobody holds."""
        for each in list(self._all.values()):
            assert not each.gate.is_set() or each.finished.wait(_LIMIT_S)

    def all(self, kind):
        return [each for each in self._all.values() if each.kind == kind]

    def get(self, request):
        operation = self._existing(request.name)
        operation.polls += 1
        self.on_poll(operation)
        return operation.message()

    def wait(self, request):
        operation = self._existing(request.name)
        operation.finished.wait(min(request.timeout.seconds or _LIMIT_S, _LIMIT_S))
        return operation.message()

    def list(self, request):
        terms = dict(re.findall(r"([\w.]+) = (\S+)", request.filter))
        matching = [each.message() for each in self._all.values() if each.matches(terms)]
        page, following = paged(matching, request.page_token, self.page_size)
        return operations_pb2.ListOperationsResponse(operations=page, next_page_token=following)

    def cancel(self, request):
        operation = self._existing(request.name)
        if operation.cancel is None or operation.finished.is_set():
            raise ApiError("FAILED_PRECONDITION", f"{operation.kind} cannot be cancelled")
        operation.cancel()
        return empty_pb2.Empty()

    def _existing(self, name):
        if name not in self._all:
            raise not_found("Operation", name)
        return self._all[name]


def paged(items, token, size):
    """A page of a list, and the token of the next one."""
    at = int(token or 0)
    return items[at : at + size], str(at + size) if at + size < len(items) else ""


def _open():
    gate = threading.Event()
    gate.set()
    return gate
