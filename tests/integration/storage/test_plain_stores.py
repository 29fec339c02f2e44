"""Stores that know the old part of S3 only: what is asked of them, and when one finds out."""

from __future__ import annotations

import pytest

from integration.storage.conftest import fresh
from integration.storage.faulty_proxy import Fault
from integration.storage.places import contents, make_model
from server_utils import ConfigurationError, ModelExistsError, StorageError, local_model, save_model
from server_utils.storage.stores import factory
from server_utils.storage.urls import MANIFEST, parse
from server_utils.storage.verify import saved_models, verify

WRITES = ("PUT", "POST", "DELETE")
DATA = r"safetensors|config\.json"
NOT_IMPLEMENTED = b"<Error><Code>NotImplemented</Code><Message>A header implies what is not there</Message></Error>"
INVALID = b"<Error><Code>InvalidArgument</Code><Message>Unsupported header</Message></Error>"
ACCESS_POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint/models-ap"


@pytest.fixture
def place(seaweedfs, monkeypatch, request):
    return fresh(seaweedfs, request, monkeypatch)


@pytest.mark.parametrize("status", [400, 501])
def test_a_store_that_refuses_checksums_in_headers_takes_a_model_and_a_newer_one(place, model, tmp_path, status):
    names = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "x-amz-content-sha256-trailer")
    faults = [Fault("answer", each, header=name, times=-1, status=status) for each in WRITES for name in names]
    place.proxy.plan(*faults)
    url = save_model(model, f"{place.root}/m")
    assert contents(local_model(url)) == contents(model)

    newer = make_model(tmp_path / "newer", files={"w": b"w"})
    save_model(newer, url, overwrite=True)

    assert contents(local_model(url)) == {"w": b"w"}
    assert len(place.keys(url)) == 2, "the files of the old one are removed"
    assert all(fault.times == -1 for fault in faults)


@pytest.mark.parametrize("answer", [(501, NOT_IMPLEMENTED), (400, INVALID)], ids=["501", "400"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_store_without_conditional_writes_is_found_out_before_the_model_is_sent(
    place, model, caplog, answer, overwrite
):
    status, body = answer
    if overwrite:
        save_model(make_model(model.parent / "old", files={"w": b"w"}), f"{place.root}/m")
    refused = [Fault("answer", "PUT", header=name, times=-1, status=status, body=body) for name in ("if-", "x-if-")]
    place.proxy.plan(*refused, before := Fault("", "PUT", path=DATA, call=lambda: noted.extend(caplog.messages)))
    noted = []

    url = save_model(model, f"{place.root}/m", overwrite=overwrite)

    assert contents(local_model(url)) == contents(model)
    assert before.times == 0
    assert [each for each in noted if "one may be lost" in each]
    assert refused[0].times == -2, "it was asked once"
    assert not [key for key in place.keys(url) if "probe" in key]


def test_a_store_without_conditional_writes_replaces_no_model_unless_asked(place, tmp_path):
    place.proxy.plan(Fault("answer", "PUT", header="if-", times=-1, status=501, body=NOT_IMPLEMENTED))
    first, second = (make_model(tmp_path / name, files={"w": name.encode()}) for name in ("1", "2"))
    url = save_model(first, f"{place.root}/m")
    with pytest.raises(ModelExistsError, match="overwrite=True"):
        save_model(second, url)
    place.proxy.plan(
        Fault("answer", "PUT", header="if-", times=-1, status=501, body=NOT_IMPLEMENTED),
        Fault("", "PUT", path="/w$", call=lambda: save_model(first, f"{place.root}/n")),
    )
    with pytest.raises(ModelExistsError, match="holds a model already"):
        save_model(second, f"{place.root}/n")
    assert contents(local_model(f"{place.root}/n")) == {"w": b"1"}


@pytest.mark.parametrize(("status", "body"), [(501, NOT_IMPLEMENTED), (400, INVALID), (403, b"")])
def test_a_store_that_takes_no_writes_is_found_out_at_once_and_not_tried_again(place, model, status, body):
    place.proxy.plan(Fault("answer", "PUT", times=-1, status=status, body=body))
    with pytest.raises(StorageError, match="is refused: ") as caught:
        save_model(model, f"{place.root}/m")
    assert "tried" not in str(caught.value)
    assert place.proxy.count("PUT", "") <= 2
    assert not place.proxy.count("PUT", DATA)


@pytest.mark.parametrize("cloud", ["seaweedfs", "gcs_emulator"], indirect=True)
def test_a_request_that_the_place_does_not_know_is_not_tried_again(cloud, model):
    url = save_model(model, f"{cloud.root}/m")
    cloud.proxy.plan(Fault("answer", path="safetensors", times=-1, status=501))
    with pytest.raises(StorageError, match="is refused: "):
        local_model(url)
    cloud.proxy.plan(Fault("answer", path=MANIFEST, times=-1, status=501))
    with pytest.raises(StorageError, match="is refused: "):
        local_model(url)
    assert cloud.proxy.count("GET", MANIFEST) == 1


def test_what_is_sent_has_the_digest_that_every_place_knows(place, model):
    """A bucket that locks its objects demands it."""
    place.proxy.plan(*(Fault("", "PUT", path=name, header="content-md5", times=-1) for name in ("json", "partNumber")))
    save_model(model, f"{place.root}/m")
    assert [-1 - fault.times for fault in place.proxy.faults] == [2, 3]


@pytest.mark.parametrize(
    "bucket", [f"s3://{ACCESS_POINT}", ACCESS_POINT, f"s3a://{ACCESS_POINT.replace('t/m', 't:m')}"]
)
def test_a_bucket_may_be_the_arn_of_an_access_point(moto, model, monkeypatch, request, bucket):
    """boto3 asks the access point's own host, which here is the server behind the proxy."""
    place = fresh(moto, request, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.test")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{place.proxy.port}")
    root = f"{bucket}/{abs(hash(bucket)):x}"

    url = save_model(model, f"{root}/a model")

    assert url.startswith("s3://arn:")
    assert contents(local_model(url)) == contents(model)
    assert verify(url) == []
    assert [each.name for each in saved_models(root)] == ["a model"]
    assert all("//models-ap-123456789012.s3.test/" in path for _, path in place.proxy.asked)
    save_model(make_model(model.parent / "newer", files={"w": b"w"}), url, overwrite=True)
    assert len(place.keys(url)) == 2


def test_an_access_point_of_a_store_without_a_name_is_refused(place, model):
    with pytest.raises(ConfigurationError, match=r"access point.* is set to the number 127\.0\.0\.1; unset AWS_ENDP"):
        save_model(model, f"s3://{ACCESS_POINT}/m")
    assert place.proxy.asked == []


def test_amazons_own_store_is_not_tried_out(place, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    factory.store(parse("s3://models/m")).probe()
    assert place.proxy.asked == []
