"""A bundle for nodes in every kind of place: whole under its list, which comes last."""

from __future__ import annotations

import pytest

from integration.storage.faulty_proxy import Fault
from server_utils.errors import StorageError
from server_utils.node.bundle import deliver
from server_utils.storage import urls
from server_utils.storage.stores import factory

SUMS = "SHA256SUMS"


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    for name in ("a-1.0-py3-none-any.whl", "b-2.0+cpu-py3-none-any.whl"):
        (folder / "wheels" / name).write_bytes(name.encode() * 1000)
    (folder / "spark_sidecar-0.1.0-py3-none-any.whl").write_bytes(b"ours")
    (folder / SUMS).write_text("sums")
    return folder


def there(url):
    store = factory.store(urls.parse(url))
    return {key: store.read(key)[0] for key, _ in store.names()}


def here(bundle):
    return {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def test_a_bundle_arrives_as_it_is_and_a_newer_one_replaces_it(place, bundle):
    url = f"{place.root}/bundle[1] 5%20"
    deliver(bundle, url, last=SUMS)
    assert there(url) == here(bundle)

    (bundle / "spark_sidecar-0.1.0-py3-none-any.whl").write_bytes(b"a newer one")
    (bundle / SUMS).write_text("newer sums")
    deliver(bundle, url, last=SUMS)
    assert there(url) == here(bundle)


def test_a_delivery_that_fails_writes_no_list(strict_cloud, bundle):
    url = f"{strict_cloud.root}/bundle"
    faults = [Fault("answer", method, "a-1.0|upload", times=-1, status=403) for method in ("PUT", "POST")]
    strict_cloud.proxy.plan(*faults)

    with pytest.raises(StorageError):
        deliver(bundle, url, last=SUMS)

    strict_cloud.proxy.plan()
    assert SUMS not in there(url)
