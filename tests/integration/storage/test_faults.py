"""What goes wrong on the way to a cloud: tried again, or one clear error; and nothing half is ever visible."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from integration.storage.conftest import fresh
from integration.storage.faulty_proxy import Fault
from integration.storage.places import contents, make_model
from integration.storage.servers import KEY, SECRET
from server_utils import (
    ModelCorruptError,
    ModelExistsError,
    ModelNotFoundError,
    StorageError,
    local_model,
    save_model,
)
from server_utils.host.processes import wait_until
from server_utils.storage.stores import factory
from server_utils.storage.urls import MANIFEST, parse

DATA = r"model\.safetensors"  # in the path of each request for the large file
BUSY = {"Retry-After": "1"}


@pytest.fixture
def saved(strict_cloud, model):
    return save_model(model, f"{strict_cloud.root}/m")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", path=DATA),
        Fault("truncate", path=DATA),
        Fault("damage", path=DATA),
        Fault("drop", path=DATA),
        Fault("answer", path=DATA, status=503, headers=BUSY),
        Fault("answer", path=DATA, status=429, headers=BUSY),
        Fault("answer", path=MANIFEST, status=500),
    ],
    ids=["reset in the middle", "truncated", "damaged", "dropped", "503", "429", "500 for the manifest"],
)
def test_a_download_outlives_a_fault(strict_cloud, saved, model, fault, caplog):
    caplog.set_level(logging.INFO)
    strict_cloud.proxy.plan(fault := replace(fault))
    assert contents(local_model(saved)) == contents(model)
    assert fault.times == 0
    if fault.headers:
        assert "again in 1.0 s" in caplog.text


@pytest.mark.parametrize(
    "do",
    [{"do": "drop"}, {"do": "damage sent"}, {"do": "answer", "status": 503}, {"do": "answer", "status": 429}],
    ids=lambda do: str(do.get("status", do["do"])),
)
def test_an_upload_outlives_a_fault(strict_cloud, model, do):
    other = (
        Fault(method="PUT", path="tokens", **do) if strict_cloud.root.startswith("s3") else Fault(method="POST", **do)
    )
    faults = [Fault(method="PUT", path=r"partNumber=2|upload_id", **do), other]
    strict_cloud.proxy.plan(*faults)
    url = save_model(model, f"{strict_cloud.root}/m")
    assert all(fault.times == 0 for fault in faults)
    strict_cloud.proxy.plan()
    assert contents(local_model(url)) == contents(model)


def test_a_store_that_stays_busy_is_one_error_that_says_so(strict_cloud, saved, own_cache):
    strict_cloud.proxy.plan(Fault("answer", path=DATA, times=-1, status=503))
    with pytest.raises(StorageError, match=r"fetching .*: model\.safetensors: .*503.*\(tried \d+ times in 2\d s\)"):
        local_model(saved)
    assert not [each for each in own_cache.iterdir() if each.name != "locks" and not each.name.endswith(".part")]


def test_damage_that_stays_is_one_error_and_nothing_is_visible(strict_cloud, saved, own_cache):
    strict_cloud.proxy.plan(Fault("damage", path=DATA, times=-1))
    with pytest.raises(ModelCorruptError, match=r"is damaged: .*model\.safetensors.*do not hash to.*overwrite=True"):
        local_model(saved)
    assert [each.name for each in own_cache.iterdir() if each.suffix != ".part"] == ["locks"]


def test_a_model_that_is_replaced_while_it_is_fetched_arrives_as_the_new_one(strict_cloud, saved, model, tmp_path):
    other = make_model(tmp_path / "other", files={"new": b"new"})
    replaced = Fault("", path=DATA, call=lambda: save_model(other, saved, overwrite=True))
    strict_cloud.proxy.plan(replaced)
    assert contents(local_model(saved)) == {"new": b"new"}


def test_an_object_that_somebody_else_replaces_is_never_mixed_with_the_old_one(strict_cloud, saved, tmp_path):
    key = next(key for key in strict_cloud.keys(saved) if key.endswith(".safetensors"))
    (tmp_path / "other").write_bytes(b"\0" * (48 << 20))
    replaced = Fault("", path=DATA, skip=1, call=lambda: factory.store(parse(saved)).upload(key, tmp_path / "other"))
    strict_cloud.proxy.plan(replaced)
    with pytest.raises(ModelCorruptError, match="do not hash to"):
        local_model(saved)


def test_two_that_save_at_once_leave_one_whole_model_and_one_error(seaweedfs, tmp_path, monkeypatch, request):
    place = fresh(seaweedfs, request, monkeypatch)
    mine, theirs = (make_model(tmp_path / name, files={"w": name.encode()}) for name in ("mine", "theirs"))
    url = f"{place.root}/m"
    place.proxy.plan(Fault("", method="PUT", path=MANIFEST, call=lambda: save_model(theirs, url)))
    with pytest.raises(ModelExistsError, match="holds a model already"):
        save_model(mine, url)
    assert contents(local_model(url)) == {"w": b"theirs"}
    assert len(place.keys(url)) == 2, "the files of the one that came second are removed"


def test_a_save_that_fails_half_way_shows_no_model_and_the_next_one_goes_on(strict_cloud, model):
    url, proxy = f"{strict_cloud.root}/m", strict_cloud.proxy

    def once_a_small_one_is_there():
        assert wait_until(lambda: any(key.endswith("config.json") for key in strict_cloud.keys(url)), 30)

    refused = {"status": 403, "times": -1, "call": once_a_small_one_is_there}
    proxy.plan(Fault("answer", method="PUT", path="partNumber|upload_id", **refused))
    with pytest.raises(StorageError, match=r"is refused: .*check the credentials"):
        save_model(model, url)
    with pytest.raises(ModelNotFoundError):
        local_model(url)
    proxy.plan()
    save_model(model, url)
    assert not proxy.count("PUT", "config.json")
    assert proxy.count("POST", "uploadType=multipart") <= 1, "the manifest's"
    assert contents(local_model(url)) == contents(model)


def test_a_bucket_that_is_not_there_is_named(cloud, model):
    url = cloud.root.replace("models", "no-such-bucket-x")
    with pytest.raises(ModelNotFoundError, match=r"there is no model at .*no-such-bucket-x"):
        local_model(f"{url}/m")
    with pytest.raises(StorageError, match="no-such-bucket-x"):
        save_model(model, f"{url}/m")


def test_wrong_credentials_are_one_clear_error_without_the_secret(seaweedfs, monkeypatch, request):
    place = fresh(seaweedfs, request, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-that-is-wrong")
    with pytest.raises(StorageError, match=r"is refused: SignatureDoesNotMatch .*check the credentials") as caught:
        local_model(f"{place.root}/m")
    assert "another-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODYKNOWSTHIS1")
    with pytest.raises(StorageError) as caught:
        local_model(f"{place.root}/m")
    assert "AKIANOBODY" not in str(caught.value)


def test_without_credentials_the_error_says_where_they_belong(seaweedfs, monkeypatch, request):
    place = fresh(seaweedfs, request, monkeypatch)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StorageError, match="no credentials for s3://"):
        local_model(f"{place.root}/m")


def test_a_bucket_of_another_region_is_named_with_its_region(moto, monkeypatch, request):
    place = fresh(moto, request, monkeypatch)
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-1</Region></Error>"
    place.proxy.plan(*(Fault("answer", method=each, times=-1, status=400, body=body) for each in ("GET", "HEAD")))
    with pytest.raises(StorageError, match=r"is in eu-west-1, asked was us-east-1: set AWS_REGION"):
        local_model(f"{place.root}/m")


def test_google_cloud_storage_that_denies_access_is_one_clear_error(gcs_emulator, monkeypatch, request):
    place = fresh(gcs_emulator, request, monkeypatch)
    place.proxy.plan(Fault("answer", times=-1, status=403, body=b'{"error": {"message": "no access for ya29.abcdef"}}'))
    with pytest.raises(StorageError, match="is refused: 403") as caught:
        local_model(f"{place.root}/m")
    assert "ya29.abcdef" not in str(caught.value)


def test_no_secret_is_ever_logged(strict_cloud, model, caplog):
    caplog.set_level(logging.DEBUG, logger="server_utils")
    strict_cloud.proxy.plan(Fault("drop", path=DATA), Fault("answer", status=503), Fault("drop", method="PUT"))
    local_model(save_model(model, f"{strict_cloud.root}/m"))
    assert "again in" in caplog.text
    assert SECRET not in caplog.text
    assert KEY not in caplog.text
