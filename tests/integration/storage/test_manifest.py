"""Manifests: what is written is read, and what a hostile one could do is refused."""

from __future__ import annotations

import json

import pytest

from server_utils import ModelCorruptError
from server_utils.storage.manifest import Entry, Manifest, Part, PartHashes, digest, read

HASH, CRC = "0" * 64, "0" * 8
GOOD = Manifest(
    "0123456789ab-01234567", "2026-11-24T00:00:00+00:00", 10, (Entry("a/b c é", 25, (HASH,) * 3, (CRC,) * 3),)
)


def changed(**fields):
    return json.dumps(json.loads(GOOD.to_json()) | fields).encode()


def entry(**fields):
    return [{"name": "a", "size": 1, "sha256": [HASH], "crc32c": [CRC]} | fields]


def test_what_is_written_is_read():
    assert read(GOOD.to_json(), "u") == GOOD
    assert [(part.start, part.size) for part in GOOD.parts(GOOD.files[0])] == [(0, 10), (10, 10), (20, 5)]


def test_a_download_is_checked_by_the_fast_hash_and_a_verification_by_the_strong_one():
    sent = PartHashes()
    sent.update(b"12345")
    sent.update(b"6789")
    sha256, crc32c = sent.hexdigests()
    assert crc32c == "e3069283"  # the check value of CRC-32C in every catalogue of them
    part = Part(0, 9, sha256, crc32c)
    for thorough, wanted in ((False, crc32c), (True, sha256)):
        found, said = part.check(thorough=thorough)
        found.update(b"123456789")
        assert found.digest().hex() == said.hex() == wanted
    assert Part(0, 9, sha256, "").check(thorough=False)[1].hex() == sha256


def test_the_digest_depends_on_names_and_contents_and_on_nothing_else():
    one, two = Entry("a", 1, (HASH,), (CRC,)), Entry("b", 1, (HASH,), ("",))
    assert digest([one, two]) == digest([two, one]) != digest([one, Entry("c", 1, (HASH,), (CRC,))])


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "", "a\0b", "\ud800", "x" * 256, 7, None, "a/" * 1600 + "a"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(ModelCorruptError, match="refused"):
        read(changed(files=entry(name=name)), "u")


@pytest.mark.parametrize(
    "files",
    [
        [],
        [*entry(), *entry()],
        [*entry(), *entry(name="a/b")],
        entry(size=-1),
        entry(size=11),
        entry(sha256=[]),
        entry(sha256=["../../etc"]),
        entry(sha256=["z" * 64]),
        entry(crc32c=[]),
        entry(crc32c=["z" * 8]),
    ],
    ids=[
        "none",
        "twice",
        "file and folder",
        "negative",
        "too few parts",
        "no parts",
        "hash",
        "hash of a part",
        "no sums",
        "sum",
    ],
)
def test_files_that_cannot_be_are_refused(files):
    with pytest.raises(ModelCorruptError, match="refused"):
        read(changed(files=files), "u")


@pytest.mark.parametrize("folder", ["..", "", "a/b", "0123456789ab-0123456", "/etc"])
def test_a_folder_that_is_not_ours_is_refused(folder):
    with pytest.raises(ModelCorruptError, match="no folder of ours"):
        read(changed(folder=folder), "u")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"format": 1, "files": 3}', changed(part_size="x")])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(ModelCorruptError, match="cannot be read"):
        read(content, "u")


def test_a_manifest_of_a_later_version_says_so():
    with pytest.raises(ModelCorruptError, match=r"later version \(format 2\)"):
        read(changed(format=2), "u")
