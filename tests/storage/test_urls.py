"""Addresses: what they mean, and which are refused."""

from __future__ import annotations

import pytest

from server_utils import ConfigurationError
from server_utils.storage.urls import is_elsewhere, join, parse


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("s3://b-1/org/name", "s3", "s3://b-1/org/name"),
        ("s3a://b-1//name/", "s3", "s3://b-1/name"),
        ("S3://b-1/ä ö#?%20", "s3", "s3://b-1/ä ö#?%20"),
        ("gs://b.c_d/name", "gs", "gs://b.c_d/name"),
        ("/Volumes/a/b/c/name", "volume", "/Volumes/a/b/c/name"),
        ("dbfs:/Volumes/a/b/c/name", "volume", "/Volumes/a/b/c/name"),
        ("dbfs:/models/name", "dbfs", "dbfs:/models/name"),
        ("/dbfs/models/name", "dbfs", "dbfs:/models/name"),
        ("file:///srv/a b", "file", "/srv/a b"),
        ("/srv/x/../y", "file", "/srv/y"),
        ("hf://org/name@v1", "hf", "hf://org/name@v1"),
    ],
)
def test_an_address_is_what_it_says(url, kind, text):
    assert (parse(url).kind, str(parse(url))) == (kind, text)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is empty"),
        ("s3://bucket", "names no model"),
        ("s3:///name", "no name of a bucket"),
        ("s3://b-1/a/../../c", "no part that is '.' or '..'"),
        ("gs://b-1/a/./c", "no part that is"),
        ("gs://b-1/a\nb", "no part that is"),
        ("/Volumes/a/b", "is no volume"),
        ("/Volumes/a/b/../../../etc", "no part that is"),
        ("dbfs:/../etc", "no part that is"),
        ("file://host/x", "three slashes"),
        ("https://host/x", "starts with https:; known are s3://"),
        ("abfss://c@account/x", "starts with abfss:"),
    ],
)
def test_an_address_that_can_hold_no_model_is_refused(url, why):
    with pytest.raises(ConfigurationError) as caught:
        parse(url)
    assert why in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match="never into a URL") as caught:
        parse("s3://AKIAX:topsecret@bucket/name")
    assert "topsecret" not in str(caught.value)


def test_a_name_below_a_root_cannot_leave_it():
    assert join("s3://b-1/models/", "org/name") == "s3://b-1/models/org/name"
    with pytest.raises(ConfigurationError, match="no part that is"):
        join("s3://b-1/models", "../secrets")


def test_a_plain_folder_is_used_in_place_and_what_was_saved_is_fetched(tmp_path):
    assert not is_elsewhere(tmp_path)
    assert not is_elsewhere("/opt/models/x")
    (tmp_path / "manifest.json").touch()
    assert all(map(is_elsewhere, [tmp_path, "s3://b/x", "gs://b/x", "/Volumes/a/b/c/d", "dbfs:/x", "file:///x"]))
