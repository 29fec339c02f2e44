"""Hooks of MkDocs: pages of the site that are not in `docs/`, and links to them. `./run docs` runs it.

The README, the guides of the platforms and of Terraform stay where a code host shows them. The site has them below
`repository/`, at their own paths. A link to a file that is no page, such as a script, becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
GLOBS = ("*.md", "csp/*/README.md", "terraform/README.md", "terraform/*/*/README.md")
SECTIONS = {  # of the navigation -> what is added to it
    "Run a cluster": ("csp/", "terraform/"),
    "How it works": ("CONTRIBUTING.md", "CHANGELOG.md", "CURSED_KNOWLEDGE.md", "README.md"),
}
LINK = re.compile(r"\[([^\]\n]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def outside() -> list[str]:
    """Paths of the pages that are not in `docs/`."""
    return [path.relative_to(ROOT).as_posix() for glob in GLOBS for path in sorted(ROOT.glob(glob))]


def on_config(config: Any) -> Any:
    """Add those pages to the navigation, and the gallery where there is one."""
    for name, places in SECTIONS.items():
        pages = [path for place in places for path in outside() if path.startswith(place)]
        section(config.nav, name).extend(f"repository/{path}" for path in pages)
    gallery = sorted(ROOT.glob("docs/gallery/**/*.md"), key=lambda path: (path.stem not in {"index", "README"}, path))
    if gallery:
        config.nav.insert(1, {"Gallery": [path.relative_to(ROOT / "docs").as_posix() for path in gallery]})
    return config


def section(nav: list[Any], name: str) -> Any:
    """The pages of a section of the navigation."""
    return next(entry[name] for entry in nav if name in entry)


def on_files(files: Files, config: Any) -> Files:
    """Add those pages to the site."""
    for path in outside():
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Lead links that leave `docs/`, or come from outside of it, to the pages of the site."""
    here = page.file.src_uri
    in_repository = here.removeprefix("repository/") if here.startswith("repository/") else f"docs/{here}"

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), link[2]))
        target = path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
        if files.get_file_from_path(target):
            return f"[{link[1]}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{link[3] or ''})"
        return link[0] if path.startswith("docs/") else link[1]

    return LINK.sub(led, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the `::` by which docstrings introduce an example."""
    return html.replace("<p>::</p>", "")
