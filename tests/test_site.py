"""The site of `make docs`: whole, with no warning, no dead link, nothing from elsewhere; its search works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pages
import pytest

import caffe_viz as cv

pytest.importorskip("sphinx", reason="sphinx is not installed: make test")
pytestmark = pytest.mark.slow
browser = pages.browser

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", out / "trees", ".", out / "html"]  # fmt: skip
    done = subprocess.run([*map(str, line)], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out / "html"


class Links(HTMLParser):
    """What a page refers to, and the names of its places."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.loaded, self.names = list[str](), list[str](), set[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        elif source := given.get("src") or (given.get("href") if tag == "link" else None):
            self.loaded.append(source)


def test_no_link_is_dead_and_nothing_comes_from_elsewhere(site: Path) -> None:
    found = {page: Links(page) for page in site.rglob("*.html")}
    assert len(found) > 40
    for page, links in found.items():
        assert [x for x in links.loaded if re.match(r"(https?:)?//", x)] == [], page
        for link in [*links.links, *links.loaded]:
            path, place = urldefrag(link)
            if ":" in path or path.startswith("//"):
                continue
            target = (page.parent / unquote(path.partition("?")[0])).resolve() if path else page
            assert target.exists(), f"{page.name} links {link}"
            if place and target.suffix == ".html":
                assert unquote(place) in found[target].names, f"{page.name} links {link}"


def test_every_public_name_is_in_the_api(site: Path) -> None:
    names = Links(site / "docs" / "api.html").names
    assert {name for name in cv.__all__ if f"caffe_viz.{name}" not in names} == set()


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    page = browser.new_page(viewport=pages.PHONE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def test_search_finds_a_page_offline(page: Any, site: Path) -> None:
    page.goto(f"file://{site}/search.html?q=occlusion")
    hits = page.locator("#search-results li a")
    hits.first.wait_for(timeout=pages.PATIENCE)
    assert any("attribution" in link.get_attribute("href") for link in hits.all())


@pytest.mark.parametrize("name", ["index", "api", "cluster", "gallery", "tour"])
def test_a_phone_need_not_scroll_sideways(page: Any, site: Path, name: str) -> None:
    page.goto(f"file://{site}/docs/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= pages.PHONE["width"]
