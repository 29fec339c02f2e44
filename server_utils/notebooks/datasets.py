"""Real data for the notebooks: small tables out of packages, which the driver reads, and data sets of a hub. Driver.

What no installed package holds is fetched by hash (`demo/assets.py`). A data set of a hub is copied once, as a
model is. For data of your own use `spark.read.parquet(data_url("name"))`.
"""

from __future__ import annotations

import ast
import csv
import functools
import html
import importlib
import importlib.util
import random
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from server_utils.demo import assets, reviews
from server_utils.errors import ConfigurationError, EnvironmentMissingError, ModelExistsError
from server_utils.notebooks.catalogue import FullData
from server_utils.spark import partitioning
from server_utils.storage.load import saved_folder
from server_utils.storage.locations import data_url
from server_utils.storage.save import save_model
from server_utils.storage.urls import parse
from server_utils.validation import did_you_mean

Row = tuple[Any, ...]

_TASKS = 8  # two for each task slot of the laptop's cluster: one that is late does not leave a server idle
# HTML, badges and pictures of Markdown, and directives of reStructuredText.
_MARKUP = re.compile(r"<[^>]+>|!?\[!\[[^\]]*\][^\n]*|!\[[^\]]*\]\([^)]*\)|^\.\. .*$|^ +:\w+:.*$", re.MULTILINE)
_SURFACES = ("brick.png", "grass.png", "gravel.png")
_SHORTEST_README = 800
_SUMS = 1000
_PHOTOS = ("camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
_LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
# With a year and a name, and without addresses.
_COPYRIGHT = re.compile(r"(?im)^[\s*#]*(Copyright\b[^@<>\n]*\b\d{4}\b[^@<>\n]*[a-z]{3}[^@<>\n]*)$")
_LONGEST_NOTICE = 160
_CODE_CHARACTERS = range(100, 600)
_SUMMARY_WORDS = range(5, 25)


def table(spark: Any, name: str, rows: int | None = None) -> Any:
    """A table by its name, as a frame; `rows` of it, evenly spread.

    Raises:
        ConfigurationError: there is no table of this name.
        EnvironmentMissingError: the package that holds it is not installed, or could not be fetched.
    """
    if name not in _TABLES:
        raise ConfigurationError(f"there is no table {name!r}{did_you_mean(name, list(_TABLES))}")
    read, schema = _TABLES[name]
    available = list(read())
    chosen = _evenly(available, len(available) if rows is None else rows)
    return spark.createDataFrame(chosen, schema).repartition(max(1, min(_TASKS, len(chosen))))


def full_table(spark: Any, data: FullData, rows: int | None = None) -> Any:
    """A table as `table` gives it, out of a data set of a hub: all of it, or the same rows each time, by their hash.

    The first call copies its files to data_url, where every node finds them; each revision has a folder of its own.

    Raises:
        ConfigurationError: nothing can be copied to where data_url leads.
        ModelNotFoundError: the hub has no such data set, or wants a token.
        StorageError: the hub or the place for data cannot be reached.
    """
    from pyspark.sql import functions as F  # noqa: N812 - as everywhere in Spark

    url, schema = _copied(data), _TABLES[data.table][1]
    files = spark.read.option("recursiveFileLookup", "true").parquet(f"{url}/{saved_folder(url)}")
    frame = files.selectExpr(*(f"{sql} as {name}" for name, sql in data.columns.items()))
    frame = frame.to(spark.createDataFrame([], schema).schema)
    if rows is not None:
        frame = frame.orderBy(F.xxhash64(frame.columns[0])).limit(rows)
    return partitioning.evenly(frame)  # a data set has few files, and a cluster many task slots


def _copied(data: FullData) -> str:
    """The URL of the copy of a data set."""
    url = data_url(f"{data.name}-{data.revision[:8]}")
    try:
        parse(url)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"the data set {data.name} cannot be copied to {url}: set SPARK_SIDECAR_DATA to a place below s3://, gs:// "
            "or /Volumes/, or to a path that all nodes see; or set SPARK_SIDECAR_SCALE=small"
        ) from error
    with suppress(ModelExistsError):
        save_model(data.source, url)
    return url


def _evenly(rows: Sequence[Row], count: int) -> list[Row]:
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def _movie_reviews() -> Iterator[Row]:
    """Snippets of reviews, each with what people thought of it on average, -4 (bad) to 4 (good)."""
    # As they are in a page of HTML: `&amp;` for `&`.
    return ((each.id, each.score, html.unescape(each.text)) for each in reviews.read(assets.get("movie_reviews")))


def _sums() -> Iterator[Row]:
    """Sums of three numbers: the question, the running totals as one would think of them, and the answer."""
    number = random.Random(0)  # noqa: S311 - no secret
    for id_ in range(_SUMS):
        first, second, third = (number.randint(1, 9) for _ in range(3))
        total = first + second
        thoughts = f"{first} + {second} = {total}, {total} + {third} = {total + third}"
        yield id_, f"Add the numbers: {first} + {second} + {third}", thoughts, total + third


def _package_readmes() -> Iterator[Row]:
    """The READMEs of the Python packages that are installed here, each with its one-line summary by its author."""
    for name, package in _packages():
        about = package.metadata.json
        text, summary = _plain(str(about.get("description", ""))), str(about.get("summary", ""))
        if len(text) > _SHORTEST_README and len(summary.split()) > 3:  # noqa: PLR2004 - a name is no summary
            yield name, text, summary


def _copyright_notices() -> Iterator[Row]:
    """Copyright notices, without addresses, in the licences of the packages that are installed here, each once."""
    seen: set[str] = set()
    for name, package in _packages():
        for file in package.files or ():
            path = Path(str(file.locate()))
            if _LICENCE_FILE.search(file.name) and path.suffix in {"", ".md", ".rst", ".txt"} and path.is_file():
                for notice in _COPYRIGHT.findall(path.read_text(encoding="utf-8", errors="replace")):
                    text = " ".join(notice.split())
                    if len(text) < _LONGEST_NOTICE and text not in seen:
                        seen.add(text)
                        yield name, text


def _packages() -> list[tuple[str, metadata.Distribution]]:
    """Every installed package by name, in order; those that a broken install left without a name are passed over."""
    every = [(package.metadata["Name"], package) for package in metadata.distributions()]
    return sorted({name.lower(): package for name, package in every if name}.items())


def _plain(readme: str) -> str:
    """A README without badges, links, headings' marks and HTML."""
    text = _MARKUP.sub("", readme)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[#=*`~_-]{2,}|https?://\S+", "", text)).strip()


def _python_functions() -> Iterator[Row]:
    """Functions of Python's standard library without their docstrings, each with the beginning of its docstring."""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")):
        for each in ast.parse(file.read_bytes()).body:
            if isinstance(each, ast.FunctionDef) and each.name[0] != "_" and (about := ast.get_docstring(each)):
                summary = " ".join(about.partition("\n\n")[0].split())
                each.body = each.body[1:]
                code = ast.unparse(each) if each.body else ""
                if len(code) in _CODE_CHARACTERS and len(summary.split()) in _SUMMARY_WORDS and ">>>" not in summary:
                    yield file.stem, each.name, code, summary


def _photographs(names: Sequence[str]) -> Iterator[Row]:
    """Photographs of scikit-image, as the bytes of their files."""
    folder = _folder_of("skimage", "scikit-image") / "data"
    return ((name.partition(".")[0], (folder / name).read_bytes()) for name in names)


def _digits() -> Iterator[Row]:
    """Handwritten digits, 8 by 8 pixels from 0 to 16, and what they are."""
    _folder_of("sklearn", "scikit-learn")
    data = importlib.import_module("sklearn.datasets").load_digits()
    pixels = zip(data.data.tolist(), data.target.tolist(), strict=True)
    return ((number, values, label) for number, (values, label) in enumerate(pixels))


def _diabetes() -> Iterator[Row]:
    """Ten measurements of 442 patients, in their units, and how far it progressed within a year (25 to 346)."""
    _folder_of("sklearn", "scikit-learn")
    data = importlib.import_module("sklearn.datasets").load_diabetes(scaled=False)
    measured = zip(data.data.tolist(), data.target.tolist(), strict=True)
    return ((number, *values, target) for number, (values, target) in enumerate(measured))


def _wines() -> Iterator[Row]:
    """178 wines of three growers: what was measured of each that a reader would taste or see."""
    _folder_of("sklearn", "scikit-learn")
    data = importlib.import_module("sklearn.datasets").load_wine()
    chosen = [data.feature_names.index(name) for name in _WINE]
    return ((number, *map(float, values[chosen])) for number, values in enumerate(data.data))


def _diamonds() -> Iterator[Row]:
    """53,940 diamonds: weight, three judgements of experts, six measures, and the price in US dollars."""
    with assets.get("diamonds").open(encoding="utf-8", newline="") as file:
        for number, each in enumerate(csv.DictReader(file)):
            judged = (each[name] for name in ("cut", "color", "clarity"))
            measured = (float(each[name]) for name in ("carat", "depth", "table", "x", "y", "z"))
            yield number, *judged, *measured, float(each["price"])


def _recordings() -> Iterator[Row]:
    """A recording of somebody who reads the first sentence of A Tale of Two Cities aloud, and that sentence."""
    file = assets.get("speech")
    yield file.stem, file.read_bytes(), _DICKENS


def _scans() -> Iterator[Row]:
    """A scanned page of Adventures of Huckleberry Finn, 770 by 995 pixels with a picture, and its text.

    The words below the picture come first. The title of the chapter, which is drawn, is left out.
    """
    return ((file.stem, file.read_bytes(), _TWAIN) for file in sorted(assets.get("scans").glob("*.jpg")))


def _folder_of(module: str, package: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        msg = f"this table is in the package {package}, which is not installed: pip install {package}"
        raise EnvironmentMissingError(msg)
    return Path(spec.origin).parent


_DIABETES = "id int, age double, sex double, bmi double, bp double, s1 double, s2 double, s3 double, s4 double, "
_DIABETES += "s5 double, s6 double, target double"
_REVIEWS = "id long, score double, text string"
_WINE = ("alcohol", "malic_acid", "flavanoids", "color_intensity")
_DIAMONDS = "id int, cut string, color string, clarity string, carat double, depth double, table double, x double, "
_DIAMONDS += "y double, z double, price double"
_TWAIN = """\
MISS WATSON'S LECTURE. WELL, I got a good going-over in the morning, from old Miss Watson, on account of my clothes;
but the widow she didn't scold, but only cleaned off the grease and clay and looked so sorry that I thought I would
be- have a while if I could. Then Miss Watson she took me in the closet and prayed, but nothing come of it. She told
me to pray every day, and whatever I asked for I would get it. But it warn't so. I tried it. Once I got a fish-line,
but no hooks. It warn't any good to me without hooks. I tried for the hooks three or four times, but somehow I
couldn't make it work. By-and-by, one day, I asked Miss Watson to try for me, but she said I was a fool. She never
told me why, and I couldn't make it out no way. I set down, one time, back in the woods, and had a long think about
it. I says to myself, if a body can get anything they pray for, why don't Deacon Winn get back the money he lost on
pork? Why can't the widow get back her silver snuff-box that was stole? Why can't Miss Watson fat up? No, says I to
myself, there ain't nothing in it. I went and told the widow about it, and she said the thing a body could get by
praying for it was "spiritual gifts." This was too many for me, but she told me what she meant—I must help other
people, and do everything I could for other people, and look out for them all the time, and never think about myself.
This was including Miss Watson,"""
_DICKENS = """\
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was
the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it
was the spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were
all going direct to Heaven, we were all going direct the other way--in short, the period was so far like the present
period, that some of its noisiest authorities insisted on its being received, for good or for evil, in the superlative
degree of comparison only."""
_TABLES: dict[str, tuple[Callable[[], Iterator[Row]], str]] = {
    "copyright_notices": (_copyright_notices, "package string, notice string"),
    "diabetes": (_diabetes, _DIABETES),
    "diamonds": (_diamonds, _DIAMONDS),
    "digits": (_digits, "id int, pixels array<float>, label int"),
    "documents": (_package_readmes, "name string, text string, summary string"),
    "movie_reviews": (_movie_reviews, _REVIEWS),
    "photos": (functools.partial(_photographs, _PHOTOS), "name string, file binary"),
    "python_functions": (_python_functions, "module string, name string, code string, summary string"),
    "recordings": (_recordings, "name string, file binary, text string"),
    "reviews": (_movie_reviews, _REVIEWS),
    "scans": (_scans, "name string, file binary, text string"),
    "sums": (_sums, "id long, question string, thoughts string, total int"),
    "surfaces": (functools.partial(_photographs, _SURFACES), "name string, file binary"),
    "wines": (_wines, f"id int, {' double, '.join(_WINE)} double"),
}
