"""The documentation site: it builds without a warning, leads nowhere wrong, and its pages are true to the code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import server_utils
from server_utils.notebooks import catalogue

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ERRORS = sorted(path for path in (DOCS / "errors").glob("*.md") if path.name != "index.md")
error_pages = pytest.mark.parametrize("page", ERRORS, ids=lambda path: path.stem)
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """What a page of the site is reached by, leads to and loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in {"id", "name"}:
                self.anchors.add(value)
            if (tag, name) == ("a", "href"):
                self.links.add(value)
            if (tag, name) in LOADED:
                self.loads.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: path of a page -> page. A warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    return {path: Page(path) for path in folder.rglob("*.html")}


def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(site):
    assert len(site) > len(list(DOCS.rglob("*.md")))
    for path, page in site.items():
        if path.name == "404.html":  # its links begin at the root of the server
            continue
        for link in filter(None, page.links):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name}: {link}"
            if parts.fragment and target in site:
                assert unquote(parts.fragment) in site[target].anchors, f"{path.name}: {link}"


def test_the_site_fetches_nothing_from_elsewhere(site):
    loaded = {each for page in site.values() for each in page.loads if each}
    assert loaded
    assert [each for each in loaded if urlsplit(each).netloc] == []
    folder = next(path for path in site if path.name == "404.html").parent
    for sheet in folder.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", sheet.read_text()) == [], sheet.name


def test_a_bar_in_the_code_of_a_table_is_a_bar(site):
    page = next(path for path in site if path.name == "live-checks.html").read_text()
    assert "| sort -u | head" in page
    assert "\\|" not in page[page.index("<article") :]


def test_the_api_pages_document_every_public_name(site):
    anchors = set().union(*(page.anchors for path, page in site.items() if path.parent.name == "api"))
    assert {f"server_utils.{name}" for name in server_utils.__all__} <= anchors


def test_every_page_is_found_by_the_navigation(site):
    start = min((path for path in site if path.name == "index.html"), key=lambda path: len(path.parts))
    led = {(start.parent / urlsplit(link).path).resolve() for link in site[start].links if not urlsplit(link).netloc}
    assert {path for path in site if path.name != "404.html"} <= led


def test_the_gallery_is_in_the_order_of_the_notebooks_and_each_may_be_downloaded(site):
    folder = next(path for path in site if path.name == "404.html").parent
    index = (folder / "gallery" / "index.html").read_text()
    navigation = index[: index.index("<article")]
    places = [navigation.index(f'href="{name}.html"') for name in catalogue.every()]
    assert places == sorted(places)
    for facts in catalogue.every().values():
        made = Path("notebooks", facts.group, f"{facts.name}.ipynb")
        assert f"../repository/{made}" in site[folder / "gallery" / f"{facts.name}.html"].links
        assert (folder / "repository" / made).read_bytes() == (ROOT / made).read_bytes()


def plain(text):
    """One line, in which every value is …"""
    return re.sub(r"\s+", " ", re.sub(r"<[^<>]+>|\$\{[^{}]*\}|\$\w+", "…", text)).strip()


def literal(node):
    """The text of a string in the code, with … for each value that is filled in; None for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.fixture(scope="module")
def messages():
    """All that the code can say, in one text."""
    said = []
    for path in (each for package in ("server_utils", "csp") for each in (ROOT / package).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        said += filter(None, (literal(node) for node in nodes if id(node) not in docstrings))
    said += [path.read_text() for path in (ROOT / "init-scripts").glob("*.sh")]
    return "\n".join(re.sub(r"\s+", " ", each) for each in said)


def sections(page):
    """Heading -> text."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@error_pages
def test_every_message_that_a_page_quotes_is_one_of_the_code(page, messages):
    for heading, text in sections(page).items():
        quoted = re.findall(r"^```text\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
        assert quoted, heading
        for quote in quoted:
            assert len(plain(quote).replace("…", "")) > 12, f"{heading}: too short to tell one message from another"
            assert plain(quote) in messages, f"{heading}: nothing says {plain(quote)!r}"


@error_pages
def test_a_message_is_followed_by_what_it_means_and_by_a_fix(page):
    for heading, text in sections(page).items():
        explained = text.rpartition("```\n")[2]
        meaning, fix, what_to_do = explained.partition("**Fix.**")
        assert fix, heading
        assert len(meaning.split()) > 3, heading
        assert what_to_do.strip(), heading


@error_pages
def test_the_list_of_errors_names_each_message(page):
    listed = (DOCS / "errors" / "index.md").read_text()
    for heading in sections(page):
        assert f"- [{heading}]({page.name}#" in listed, heading
