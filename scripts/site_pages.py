"""Hooks of MkDocs: pages of the site that are not in `docs/`, and links to them. `./run docs` runs it.

The README, the guides of the platforms and of Terraform stay where a code host shows them. The site has them below
`repository/`, at their own paths, and the notebooks beside them for download. A link to another file, such as a script,
becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from server_utils.notebooks import catalogue

ROOT = Path(__file__).resolve().parents[1]
GLOBS = ("*.md", "csp/*/README.md", "notebooks/README.md", "terraform/README.md", "terraform/*/*/README.md")
SECTIONS = {  # of the navigation -> what is added to it
    "Run a cluster": ("csp/", "terraform/"),
    "How it works": ("CONTRIBUTING.md", "CHANGELOG.md", "CURSED_KNOWLEDGE.md", "README.md"),
}
PICTURE = r"!\[[^\]\n]*\]\([^)\s]+\)"
WIDE = ("live-checks.md", "repository/CURSED_KNOWLEDGE.md")  # their tables want the width of the list of headings
ROW, CODE = re.compile(r"^\|.*\|$", re.MULTILINE), re.compile(r"`[^`]*`")
# The text of a link may be a picture, which is a link of its own.
LINK = re.compile(rf"\[((?:{PICTURE}|[^\]\n])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def outside() -> list[str]:
    """Paths of the pages that are not in `docs/`."""
    return [path.relative_to(ROOT).as_posix() for glob in GLOBS for path in sorted(ROOT.glob(glob))]


def on_config(config: Any) -> Any:
    """Add those pages to the navigation, and the gallery."""
    for name, places in SECTIONS.items():
        pages = [path for place in places for path in outside() if path.startswith(place)]
        section(config.nav, name).extend(f"repository/{path}" for path in pages)
    config.nav.insert(
        1, {"Gallery": ["gallery/README.md", {"The notebooks": "repository/notebooks/README.md"}, *gallery()]}
    )
    return config


def gallery() -> list[dict[str, list[str]]]:
    """The pages of the gallery by group, in the order in which the notebooks are shown."""
    pages = {
        group: [each for each in catalogue.every().values() if each.group == group] for group in catalogue.groups()
    }
    return [
        {catalogue.groups()[group]: [f"gallery/{each.name}.md" for each in notebooks]}
        for group, notebooks in pages.items()
    ]


def section(nav: list[Any], name: str) -> Any:
    """The pages of a section of the navigation."""
    return next(entry[name] for entry in nav if name in entry)


def on_files(files: Files, config: Any) -> Files:
    """Add those pages to the site, and the notebooks."""
    for path in [*outside(), *(f"notebooks/{each.group}/{each.name}.ipynb" for each in catalogue.every().values())]:
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Lead links that leave `docs/`, or come from outside of it, to the pages of the site."""
    here = page.file.src_uri
    if 'class="beside"' in markdown or here in WIDE:
        page.meta["hide"] = ["toc"]
    in_repository = here.removeprefix("repository/") if here.startswith("repository/") else f"docs/{here}"

    def led(link: re.Match[str]) -> str:
        text = LINK.sub(led, link[1])
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), link[2]))
        target = path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
        if files.get_file_from_path(target):
            download = f'{{ download="{posixpath.basename(path)}" }}' if path.endswith(".ipynb") else ""
            return f"[{text}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{link[3] or ''}){download}"
        return link[0] if path.startswith("docs/") else text

    return ROW.sub(with_bars, LINK.sub(led, markdown))


def with_bars(row: re.Match[str]) -> str:
    r"""A row of a table, with plain bars in its code: code hosts take `\|` for one, Python's Markdown does not."""
    return CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0])


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the `::` by which docstrings introduce an example."""
    return html.replace("<p>::</p>", "")
