"""What of a local folder can be saved."""

from __future__ import annotations

import os

import pytest

from integration.storage.places import contents, make_model
from server_utils import ConfigurationError, StorageError, local_model, save_model
from server_utils.storage import upload


def test_the_fingerprint_tells_any_change_without_reading(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    before, status = upload.fingerprint(upload.list_files(tmp_path)), (tmp_path / "f").stat()
    assert upload.fingerprint(upload.list_files(tmp_path)) == before
    (tmp_path / "f").write_bytes(b"xyz")
    os.utime(tmp_path / "f", ns=(status.st_atime_ns, status.st_mtime_ns))  # as an archive with fixed times does
    assert upload.fingerprint(upload.list_files(tmp_path)) != before


def test_parts_grow_with_the_file_as_s3_takes_ten_thousand_of_them():
    assert upload.part_size([upload.LocalFile("f", None, 1 << 30, 0, "")]) == 16 << 20
    size = upload.part_size([upload.LocalFile("f", None, 2 << 40, 0, "")])
    assert -(-(2 << 40) // size) <= 10_000


def test_a_link_within_the_folder_is_saved_as_what_it_leads_to(tmp_path):
    folder = make_model(tmp_path / "m", files={"blobs/1": b"w"})
    (folder / "model.safetensors").symlink_to("blobs/1")
    assert contents(local_model(save_model(folder, tmp_path / "store" / "m")))["model.safetensors"] == b"w"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "/etc"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, target):
    (tmp_path / "outside").write_bytes(b"private")
    folder = make_model(tmp_path / "m")
    (folder / "link").symlink_to(target)
    with pytest.raises(ConfigurationError, match=r"is a link out of the folder, to .*cp -rL"):
        save_model(folder, tmp_path / "store" / "m")
    assert not (tmp_path / "store").exists()


def test_a_broken_link_a_pipe_and_a_name_that_is_not_utf8_are_refused(tmp_path):
    for name, make, why in (
        ("broken", lambda path: path.symlink_to("nowhere"), "cannot be saved"),
        ("pipe", os.mkfifo, "is no file"),
        (os.fsdecode(b"\xff"), lambda path: path.touch(), "not UTF-8"),
    ):
        folder = make_model(tmp_path / why)
        make(folder / name)
        with pytest.raises(ConfigurationError, match=why):
            save_model(folder, tmp_path / "store" / "m")


def test_a_folder_of_links_to_folders_is_refused(tmp_path):
    folder = make_model(tmp_path / "m")
    (folder / "again").symlink_to(".")
    with pytest.raises(ConfigurationError, match="is no file"):
        save_model(folder, tmp_path / "store" / "m")


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_cannot_be_saved(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"no folder|no files"):
        save_model(tmp_path / name, tmp_path / "store" / "m")


def test_a_file_that_changes_while_it_is_saved_is_an_error_and_no_model(tmp_path):
    folder = make_model(tmp_path / "m")
    found = upload.list_files(folder)
    (folder / "config.json").write_bytes(b"{ }")
    with pytest.raises(StorageError, match=r"config\.json was changed while it was being saved"):
        upload.check_unchanged(found)


def test_odd_names_travel(tmp_path):
    files = dict.fromkeys((" a ", "b\\c", "d%2Fe", "f#g?h=i&j", "ü/日本", "-k", "l\nm", "manifest.json"), b"x")
    folder = make_model(tmp_path / "m", files=files)
    assert contents(local_model(save_model(folder, tmp_path / "store" / "m"))) == files
