"""Volumes and DBFS from a laptop, by databricks-sdk against a stand-in for the workspace."""

from __future__ import annotations

import os

import pytest
from databricks.sdk.errors import platform

from integration.storage.fake_databricks import TOKEN, FakeDatabricks, RefusalError
from integration.storage.places import contents, make_model
from server_utils import ModelExistsError, ModelNotFoundError, StorageError, local_model, save_model
from server_utils.storage.stores.base import ChangedError, TransientError
from server_utils.storage.stores.databricks import Volume, translated
from server_utils.storage.verify import saved_models, verify


@pytest.fixture
def workspace(monkeypatch):
    fake = FakeDatabricks()
    for name, value in {"HOST": f"http://127.0.0.1:{fake.port}", "TOKEN": TOKEN, "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"DATABRICKS_{name}", value)
    yield fake
    fake.close()


@pytest.fixture(params=["/Volumes/main/default/models", "dbfs:/models"])
def root(request, workspace):
    return request.param


@pytest.fixture
def folder(tmp_path):
    files = {"config.json": b"{}", "sub/tokens é #1.txt": b"abc", "empty": b"", "weights": os.urandom(3 << 20)}
    return make_model(tmp_path / "m", files=files)


def test_what_is_loaded_is_what_was_saved(root, folder):
    assert contents(local_model(save_model(folder, f"{root}/m"))) == contents(folder)


def test_a_model_is_replaced_only_when_asked_and_then_the_old_files_are_gone(root, folder, workspace):
    url = save_model(folder, f"{root}/m")
    with pytest.raises(ModelExistsError):
        save_model(folder, url)
    (folder / "config.json").write_bytes(b"new")
    save_model(folder, url, overwrite=True)
    assert contents(local_model(url)) == contents(folder)
    assert len(workspace.files | workspace.dbfs) == 5


def test_models_are_listed_verified_and_missed(root, folder, workspace):
    url = save_model(folder, f"{root}/org/m")
    assert [each.name for each in saved_models(root)] == ["org/m"]
    assert verify(url) == []
    kept = workspace.files if url.startswith("/Volumes") else workspace.dbfs
    kept[next(path for path in kept if path.endswith("weights"))] = b"x" * (3 << 20)
    assert [each.file for each in verify(url)] == ["weights"]
    with pytest.raises(ModelNotFoundError, match="Beside it there is m"):
        local_model(f"{root}/org/other")


def test_a_busy_workspace_is_asked_again(workspace, folder):
    url = save_model(folder, "/Volumes/main/default/models/m")
    workspace.faults = [503, 429]
    assert contents(local_model(url)) == contents(folder)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (platform.Aborted, TransientError),
        (platform.DeadlineExceeded, TransientError),
        (platform.AlreadyExists, ChangedError),
        (platform.ResourceConflict, ChangedError),
    ],
)
def test_what_is_over_soon_is_told_from_what_somebody_else_has_written(error, expected):
    with pytest.raises(expected, match="said so"), translated("/Volumes/main/default/models"):
        raise error("said so")


def test_a_folder_of_which_somebody_else_deletes_a_part_is_deleted_whole(workspace, folder):
    save_model(folder, "/Volumes/main/default/models/m")
    answer, races = workspace.answer, [True, True, False, True]

    def overtaken(method, path, query, sent):
        answered = answer(method, path, query, sent)
        if method == "DELETE" and races and races.pop():
            raise RefusalError(404, "NOT_FOUND", f"{path} does not exist.")
        return answered

    workspace.answer = overtaken
    Volume("/Volumes/main/default/models", "models").delete("m")
    assert (workspace.files, races) == ({}, [])
    assert not any(each.endswith("/m") for each in workspace.folders)


def test_a_wrong_token_is_one_clear_error_without_the_token(root, folder, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-another-that-is-wrong")
    with pytest.raises(StorageError, match=r"is refused: .*check DATABRICKS_HOST") as caught:
        save_model(folder, f"{root}/m")
    assert "another-that-is-wrong" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_a_workspace_the_error_says_how_to_sign_in(monkeypatch, folder):
    for name in ("HOST", "TOKEN"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", os.devnull)
    with pytest.raises(StorageError, match="databricks auth login"):
        save_model(folder, "/Volumes/main/default/models/m")
