"""The pages of docs/gallery: an executed notebook as Markdown and PNG files, and the page that lists all."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from server_utils.notebooks import catalogue
from server_utils.notebooks.catalogue import Facts

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
_NOTEBOOKS = "../../notebooks"
_INDEX = """\
# Gallery

Every page is a notebook of [notebooks/](../../notebooks/README.md), executed at small scale on a laptop: two Spark
executors, a real server beside each, two cores, no GPU. `./run gallery` made all of them; numbers of another machine
differ.
"""


def write(facts: Facts, notebook: Any) -> None:
    """Write the page of an executed notebook, and its pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob(f"{facts.name}-*.png"):
        old.unlink()
    pictures: list[bytes] = []
    parts = [part for cell in notebook.cells for part in _cell(facts, cell, pictures)]
    for number, picture in enumerate(pictures, 1):
        (FOLDER / f"{facts.name}-{number}.png").write_bytes(picture)
    link = f"[The notebook]({_NOTEBOOKS}/{facts.group}/{facts.name}.ipynb), executed by `./run gallery`."
    parts.insert(1, link)
    (FOLDER / f"{facts.name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write_index() -> None:
    """Write the page that lists all that have a page, with one picture each."""
    lines = [_INDEX]
    for group, title in catalogue.groups().items():
        rows = [_thumbnail(facts) for facts in catalogue.every().values() if facts.group == group and _has_page(facts)]
        lines += [f"## {title}", "", "| | |", "|---|---|", *rows, ""]
    (FOLDER / "README.md").write_text("\n".join(lines), encoding="utf-8")


def plain(notebook: Any) -> str:
    """What an executed notebook has displayed, as plain text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("data", {}).get("text/plain", output.get("text", "")) for output in outputs]
    return "\n".join(text for text in texts if text and not re.match(r"<(Figure|IPython)", text))


def _has_page(facts: Facts) -> bool:
    return (FOLDER / f"{facts.name}.md").exists()


def _thumbnail(facts: Facts) -> str:
    text = f"[{facts.title}]({facts.name}.md)"
    return f"| [![{facts.title}]({facts.name}-1.png)]({facts.name}.md) | {text} |"


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
