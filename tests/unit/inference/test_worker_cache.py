from __future__ import annotations

import pytest

from server_utils.errors import ServerUnavailableError
from server_utils.inference.worker_cache import WorkerCache
from server_utils.servers.launch import Launch


def launched(name, number):
    return Launch("app", name, number, "none", (), ("http",), "/")


class Cache:
    """A cache of lists, so that equal ones can be told apart."""

    def __init__(self):
        self.closed = []
        self._cache = WorkerCache(self.closed.append)

    def get(self, name, number, **options):
        return self._cache.get(launched(name, number), lambda: [name, number], **options)


def test_the_same_launch_gives_the_same_connections_and_another_name_its_own():
    cache = Cache()
    first, other = cache.get("first", "1"), cache.get("other", "1")
    assert cache.get("first", "1") is first
    assert cache.get("other", "1") is other
    assert first is not other


def test_other_options_give_other_connections():
    cache = Cache()
    slow, quick = cache.get("first", "1", options=5.0), cache.get("first", "1", options=0.5)
    assert slow is not quick
    assert cache.get("first", "1", options=5.0) is slow


def test_a_later_launch_closes_all_connections_to_the_earlier_one_and_no_others():
    cache = Cache()
    earlier = [cache.get("first", "1", options=number) for number in range(2)]
    other = cache.get("other", "1")
    cache.get("first", "2")
    assert cache.closed == earlier
    assert cache.get("other", "1") is other
    assert cache.get("first", "1", options=0) is not earlier[0]


def test_connections_that_could_not_be_made_are_made_by_the_next_task():
    cache, launch = WorkerCache(), launched("first", "1")

    def fail():
        raise ServerUnavailableError("not yet")

    with pytest.raises(ServerUnavailableError, match="not yet"):
        cache.get(launch, fail)
    assert cache.get(launch, lambda: "connected") == "connected"
