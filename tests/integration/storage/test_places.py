"""Saving and loading, wherever models can be: five kinds of store, the same promises."""

from __future__ import annotations

import shutil

import pytest

from integration.storage.places import contents, make_model
from server_utils import ModelCorruptError, ModelExistsError, ModelNotFoundError, local_model, save_model
from server_utils.storage.stores import factory
from server_utils.storage.urls import MANIFEST, parse
from server_utils.storage.verify import is_saved, saved_models, verify


def test_what_is_loaded_is_what_was_saved(place, model):
    url = save_model(model, f"{place.root}/my model é")
    assert contents(local_model(url)) == contents(model)


NAMES = [
    "run[1] {a,b} 100%25 #x?y*",
    "a&b=c;d+e,f q'uote\" $@!~^`|<>() \u00fc e\u0301",
    ".a%2Fb co:lon ",
    "back\\slash",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(place, tmp_path, name):
    """In the address, in what is saved, and in the folder that it is saved from."""
    if place.name == "seaweedfs" and "\\" in name:
        pytest.skip("SeaweedFS turns a backslash into a slash; save_model then says that it does not have the file")
    folder = make_model(tmp_path / name, files={name: b"2", f"sub {name}/{name}": b"3"})
    url = save_model(folder, f"{place.root}/{name}/{name}")
    assert contents(local_model(url)) == contents(folder)
    assert verify(url) == []
    assert [each.name for each in saved_models(place.root)] == [f"{name}/{name}"]
    save_model(make_model(tmp_path / "newer", files={"w": b"w"}), url, overwrite=True)
    assert len(place.keys(url)) == 2


@pytest.mark.parametrize(
    ("name", "other"), [("run[1]", "run1"), ("st*r", "star"), ("50%25", "50%"), ("{a,b}", "a"), ("a+b", "a b")]
)
def test_a_name_stands_for_no_other(place, tmp_path, name, other):
    save_model(make_model(tmp_path / "m"), f"{place.root}/{name}")
    with pytest.raises(ModelNotFoundError):
        local_model(f"{place.root}/{other}")
    assert [is_saved(f"{place.root}/{each}") for each in (name, other)] == [True, False]
    save_model(tmp_path / "m", f"{place.root}/{other}")
    assert [each.name for each in saved_models(place.root)] == sorted([name, other])


def test_a_file_alone_is_a_model(place, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    url = save_model(tmp_path / "model.onnx", f"{place.root}/onnx")
    assert contents(local_model(url)) == {"model.onnx": b"onnx"}


def test_a_model_is_not_replaced_unless_asked(place, tmp_path):
    first, second = make_model(tmp_path / "1"), make_model(tmp_path / "2", files={"other": b"2"})
    url = save_model(first, f"{place.root}/m")
    with pytest.raises(ModelExistsError, match=r"holds a model already \(saved .*3 files.*overwrite=True"):
        save_model(second, url)
    assert contents(local_model(url)) == contents(first)


def test_a_replaced_model_is_the_new_one_and_the_old_files_are_gone(place, tmp_path):
    first, second = make_model(tmp_path / "1"), make_model(tmp_path / "2", files={"other": b"2"})
    url = save_model(first, f"{place.root}/m")
    local_model(url)
    save_model(second, url, overwrite=True)
    assert contents(local_model(url)) == {"other": b"2"}
    assert [key.rpartition("/")[2] for key in place.keys(url)] == ["other", MANIFEST]


def test_a_model_whose_manifest_is_broken_can_be_saved_anew(place, tmp_path):
    url = save_model(make_model(tmp_path / "1"), f"{place.root}/m")
    tag = factory.store(parse(url)).read(MANIFEST)[1]
    factory.store(parse(url)).write(MANIFEST, b"{", replaces=tag)
    with pytest.raises(ModelCorruptError, match=r"manifest of .* cannot be read"):
        local_model(url)
    with pytest.raises(ModelExistsError, match="overwrite=True"):
        save_model(tmp_path / "1", url)
    save_model(tmp_path / "1", url, overwrite=True)
    assert contents(local_model(url)) == contents(tmp_path / "1")


def test_a_model_that_is_not_there_is_refused_with_what_is(place, tmp_path):
    folder = make_model(tmp_path / "1")
    for name in ("llama", "qwen-2.5"):
        save_model(folder, f"{place.root}/{name}")
    with pytest.raises(ModelNotFoundError, match=r"did you mean qwen-2\.5\? Beside it there is llama, qwen-2\.5"):
        local_model(f"{place.root}/qwen-25")


def test_files_without_a_manifest_are_no_model(place, tmp_path):
    (tmp_path / "weights").write_bytes(b"w")
    factory.store(parse(f"{place.root}/m")).upload("weights", tmp_path / "weights")
    with pytest.raises(ModelNotFoundError, match="there are weights, but no manifest"):
        local_model(f"{place.root}/m")


def test_models_are_listed_with_their_size_and_those_in_folders_too(place, tmp_path):
    folder = make_model(tmp_path / "1")
    for name in ("b", "org/a"):
        save_model(folder, f"{place.root}/{name}")
    found = saved_models(place.root)
    assert [(each.name, each.files, each.size) for each in found] == [("b", 3, 7), ("org/a", 3, 7)]
    assert contents(local_model(found[1].url)) == contents(folder)


def test_verify_names_each_file_that_is_damaged_or_missing(place, tmp_path):
    url = save_model(make_model(tmp_path / "1"), f"{place.root}/m")
    assert verify(url) == []
    store = factory.store(parse(url))
    key = next(key for key, _ in store.names() if key.endswith("config.json"))
    (tmp_path / "bad").write_bytes(b"[]")
    store.upload(key, tmp_path / "bad")
    assert [(each.file, each.problem) for each in verify(url)] == [("config.json", "its content is not what was saved")]
    store.delete(key.partition("/")[0])
    assert [each.problem for each in verify(url)] == ["it is missing"] * 3


def test_a_damaged_model_is_refused_and_saving_it_anew_repairs_it(place, tmp_path):
    folder = make_model(tmp_path / "1")
    url = save_model(folder, f"{place.root}/m")
    factory.store(parse(url)).delete(next(iter(place.keys(url))).partition("/")[0])
    with pytest.raises(ModelCorruptError, match=r"is damaged: .*overwrite=True"):
        local_model(url)
    save_model(folder, url, overwrite=True)
    assert contents(local_model(url)) == contents(folder)


def test_many_small_files_arrive(place, tmp_path):
    folder = make_model(tmp_path / "many", files={f"shard {n % 7}/{n}.bin": b"%d" % n for n in range(200)})
    url = save_model(folder, f"{place.root}/many")
    shutil.rmtree(folder)
    assert contents(local_model(url)) == {f"shard {n % 7}/{n}.bin": b"%d" % n for n in range(200)}
