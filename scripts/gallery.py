"""The pages of docs/gallery: an executed notebook as Markdown and PNG files, and the tables of small pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import notebook_files
from PIL import Image, ImageOps

from server_utils.errors import ConfigurationError
from server_utils.notebooks import catalogue
from server_utils.notebooks.catalogue import Facts

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
_NOTEBOOKS = "../../notebooks"
_SMALL, _COLOURS = (160, 110), 48  # a few kB each: the README shows all of them
_PER_ROW = 4  # as many as fit beside each other on a code host
_INDEX = """\
<!-- made by ./run render -->
# Gallery

Every page is a notebook of [notebooks/](../../notebooks/README.md), executed at small scale by `./run gallery`: two
Spark executors and a real server beside each, on one machine with two cores (AMD EPYC), 24 GiB of memory and no GPU.
Numbers of another machine differ. The source of a page ends with the hash of the notebook that was executed.
"""


def write(facts: Facts, notebook: Any, seconds: float) -> None:
    """Write the page of an executed notebook, and its pictures. Raises ConfigurationError where it has none."""
    notebook.cells[notebook_files.ABOUT].source = notebook_files.about(facts)
    pictures: list[bytes] = []
    parts = [part for cell in notebook.cells for part in _cell(facts, cell, pictures)]
    if not pictures:
        raise ConfigurationError("it shows no picture; each page of the gallery has one")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob(f"{facts.name}-*.png"):
        old.unlink()
    for number, picture in enumerate(pictures, 1):
        (FOLDER / f"{facts.name}-{number}.png").write_bytes(picture)
    (FOLDER / f"{facts.name}-small.png").write_bytes(thumbnail(pictures[0]))
    link = f"[The notebook]({_NOTEBOOKS}/{facts.group}/{facts.name}.ipynb), executed by `./run gallery`"
    parts.insert(1, f"{link} in {seconds:.0f} seconds.")
    (FOLDER / f"{facts.name}.md").write_text("\n\n".join([*parts, mark(facts)]) + "\n", encoding="utf-8")


def mark(facts: Facts) -> str:
    """What the page of the notebook ends with: the hash of the file that was executed."""
    digest = hashlib.sha256(notebook_files.made(facts).read_bytes()).hexdigest()
    return f"<!-- sha256 of the executed notebook: {digest} -->"


def is_stale(facts: Facts) -> bool:
    """Whether the page is not from the notebook as it is now."""
    page = FOLDER / f"{facts.name}.md"
    return not page.exists() or mark(facts) not in page.read_text(encoding="utf-8")


def thumbnail(picture: bytes) -> bytes:
    """A picture in one small size and few colours."""
    small = ImageOps.pad(Image.open(io.BytesIO(picture)).convert("RGB"), _SMALL, color="white")
    written = io.BytesIO()
    small.quantize(_COLOURS).save(written, "PNG", optimize=True)
    return written.getvalue()


def index() -> str:
    """The page that lists all, by group."""
    lines = [_INDEX]
    for group, title in catalogue.groups().items():
        lines += [f"## {title}", "", *table([each for each in catalogue.every().values() if each.group == group]), ""]
    return "\n".join(lines)


def table(shown: Sequence[Facts], folder: str = "") -> list[str]:
    """Small pictures with their titles, each a link to its page. folder: of the pages, seen from where the table is."""
    cells = [_linked_thumbnail(facts, folder) for facts in shown]
    cells += [""] * (-len(cells) % _PER_ROW)
    rows = [f"| {' | '.join(cells[start : start + _PER_ROW])} |" for start in range(0, len(cells), _PER_ROW)]
    return [f"|{' |' * _PER_ROW}", f"|{'---|' * _PER_ROW}", *rows]


def plain(notebook: Any) -> str:
    """What an executed notebook has displayed, as plain text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("data", {}).get("text/plain", output.get("text", "")) for output in outputs]
    return "\n".join(text for text in texts if text and not re.match(r"<(Figure|IPython)", text))


def _linked_thumbnail(facts: Facts, folder: str) -> str:
    page, picture = f"{folder}{facts.name}.md", f"{folder}{facts.name}-small.png"
    return f"[![{facts.title}]({picture})]({page})<br>[{facts.title}]({page})"


def _cell(facts: Facts, cell: Any, pictures: list[bytes]) -> list[str]:
    """The parts of a page that a cell becomes: its text or code, and what it displayed."""
    if cell.cell_type == "markdown":
        text = cell.source.strip().replace("](../../docs/", "](../")
        return [re.sub(r"\]\((?:\.\./\w+/)?(\w+)\.ipynb\)", r"](\1.md)", text)]
    shown = [_output(facts, output, pictures) for output in cell.outputs]
    return [f"```python\n{cell.source.strip()}\n```", *filter(None, shown)]


def _output(facts: Facts, output: Any, pictures: list[bytes]) -> str:
    """What a cell displayed, in Markdown; logs and progress are left out."""
    data = output.get("data", {})
    if "image/png" in data:
        pictures.append(base64.b64decode(data["image/png"]))
        return f"![Output of the cell above]({facts.name}-{len(pictures)}.png)"
    if "text/markdown" in data:
        return str(data["text/markdown"]).strip()
    text = output.get("text", "") if output.get("name") == "stdout" else ""
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
