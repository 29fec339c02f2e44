"""Addresses: what they mean, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from server_utils import ConfigurationError, TritonServerManager, VLLMServerManager
from server_utils.storage.urls import from_driver, in_place, is_elsewhere, join, on_this_machine, parse

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/my-ap"
OUTPOST = "arn:aws-us-gov:s3-outposts:us-gov-west-1:123456789012:outpost/op-1a/accesspoint/ap"
ODD = "run[1] {a,b} 100%25 #x?y*z&=;+'\\é"


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
        ("file:/srv/a", "file", "/srv/a"),
        ("FILE://localhost/srv/a", "file", "/srv/a"),
        (Path("/srv/a b/100%").as_uri(), "file", "/srv/a b/100%"),
        (Path(f"/srv/{ODD}\n").as_uri(), "file", f"/srv/{ODD}\n"),
        (Path("/srv/\udcff").as_uri(), "file", "/srv/\udcff"),
        (Path(f"/srv/{ODD}/"), "file", f"/srv/{ODD}"),
        (f"s3://b-1/{ODD}", "s3", f"s3://b-1/{ODD}"),
        (f"gs://b-1/{ODD}", "gs", f"gs://b-1/{ODD}"),
        (f"dbfs:/{ODD}", "dbfs", f"dbfs:/{ODD}"),
        (f"/Volumes/a/b/c/{ODD}", "volume", f"/Volumes/a/b/c/{ODD}"),
        (Path("s3a://b-1/name"), "s3", "s3://b-1/name"),
        (Path("gs://b-1/name"), "gs", "gs://b-1/name"),
        (Path("hf://org/name"), "hf", "hf://org/name"),
        (f"s3://{POINT}/org/name", "s3", f"s3://{POINT}/org/name"),
        (f"{POINT}/org/name", "s3", f"s3://{POINT}/org/name"),
        (f"s3a://{POINT.replace('/', ':')}/name", "s3", f"s3://{POINT.replace('/', ':')}/name"),
        (f"s3://{OUTPOST}/name", "s3", f"s3://{OUTPOST}/name"),
        ("arn:aws:s3:::bucket/name", "s3", "s3://bucket/name"),
        ("/srv/x/../y", "file", "/srv/y"),
        ("hf://org/name@v1", "hf", "hf://org/name@v1"),
        ("hf://org/name@refs/pr/1", "hf", "hf://org/name@refs/pr/1"),
        ("hf://datasets/org/name@v1", "hf", "hf://datasets/org/name@v1"),
        ("hf://datasets/org/name@v1/a/*.parquet", "hf", "hf://datasets/org/name@v1/a/*.parquet"),
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
        ("file:///a/%2e%2e/b", "no part that is '.' or '..'"),
        ("file:///a/%00", "no part that is"),
        ("a\0b", "zero byte"),
        ("C:\\models\\tiny", "is a path of Windows; give the one that Linux knows"),
        ("c:/models/tiny", "is a path of Windows"),
        ("file:///C:/models/tiny", "is a path of Windows"),
        ("\\\\server\\models", "is a path of Windows"),
        ("s3:bucket/name", "lacks the slashes of a URL"),
        ("file:name", "lacks the slashes of a URL"),
        (POINT, "names no model"),
        (f"s3://{POINT.replace('123456789012', '1')}/name", "the ARN of an access point"),
        (f"gs://{POINT}/name", "no name of a bucket"),
        (b"/srv/x", "a text or a pathlib.Path; it is b'/srv/x'"),
        (None, "a text or a pathlib.Path"),
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


def test_a_file_url_of_what_is_there_already_is_used_in_place(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    assert in_place(folder.as_uri()) == in_place(str(folder)) == in_place(folder) == str(folder)
    (folder / "manifest.json").touch()
    assert is_elsewhere(folder.as_uri())
    assert is_elsewhere(folder)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a model; the working folder is beside it."""
    (tmp_path / "home" / "tiny").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_the_home_is_that_of_who_says_it(home, monkeypatch):
    whole = str(home / "tiny")
    assert from_driver("~/tiny") == from_driver(Path("~/tiny/")) == in_place("~/tiny") == str(parse("~/tiny")) == whole
    assert on_this_machine("~/tiny") == home / "tiny"
    assert from_driver("~/not there") == str(home / "not there")
    assert str(parse("~root")) == in_place("~root")
    assert from_driver("~nobody-of-this-name/x") == "~nobody-of-this-name/x"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigurationError, match="this user has none; set HOME"):
        from_driver("~/tiny")


def test_what_begins_in_the_working_folder_is_written_out_for_other_hosts(home):
    work = Path.cwd()
    (work / "here").mkdir()
    assert from_driver("here") == from_driver("./here/") == str(work / "here")
    assert from_driver("./later") == str(work / "later")
    assert from_driver("../home") == str(work / ".." / "home")
    assert from_driver("Qwen/Qwen2.5-7B") == "Qwen/Qwen2.5-7B", "a name on a hub, or a path of the nodes"
    assert from_driver("x" * 5000) == "x" * 5000


@pytest.mark.parametrize("manager", [TritonServerManager, VLLMServerManager])
def test_a_manager_takes_any_kind_of_path_and_refuses_what_is_none(manager, home):
    assert manager("m", "~/tiny").model_path == manager("m", home / "tiny").model_path == str(home / "tiny")
    assert manager("m", "s3://b-1/a%20b").model_path == "s3://b-1/a%20b"
    for wrong in ("", b"/x", "C:\\models", "file://host/x", "ftp://host/x", "s3://b-1"):
        with pytest.raises(ConfigurationError):
            manager("m", wrong)


def test_what_is_saved_is_on_this_machine(tmp_path):
    assert on_this_machine((tmp_path / ODD).as_uri()) == on_this_machine(tmp_path / ODD) == tmp_path / ODD
    with pytest.raises(ConfigurationError, match=r"'s3://b-1/x' is elsewhere; fetch it first: local_model\('s3"):
        on_this_machine("s3://b-1/x")
