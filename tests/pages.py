"""The live view in headless Chromium: fixtures, which a module of tests takes over by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caffe_viz.deploying import preprocess_near
from caffe_viz.images import load_image, save_png
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.server import Server, serve

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test")

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
CIFAR = REPOSITORY / "prototxt" / "caffenet_cifar10"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1400, "height": 900}
PATIENCE = 120_000  # ms: no test depends on how fast the machine is


def cifar() -> Network:
    """The trained network that the project ships."""
    prototxt = CIFAR / "deploy.prototxt"
    return Network(prototxt, CIFAR / "caffenet_cifar10.caffemodel", preprocess_near(prototxt))


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Headless Chromium."""
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """caffenet_cifar10 with two images, four photographs, the record of its training, a network beside it."""
    folder = tmp_path_factory.mktemp("served")
    photos = folder / "photos"
    photos.mkdir()
    cat = load_image(CAT)
    save_png(folder / "tac.png", cat[:, ::-1])
    for number, photo in enumerate((cat, cat[::-1], cat[:, ::-1], cat[40:200, 40:200])):
        save_png(photos / f"photo {number}.png", photo)
    network = cifar()
    beside = Network(network.prototxt, seeded_weights(network.message, 1), network.preprocess)
    record = REPOSITORY / "examples" / "caffenet_cifar10.record"
    with serve(
        network, [CAT, folder / "tac.png"], photos=photos, beside=beside, record=record, cache=folder / "kept"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def tabs(browser: Any) -> Iterator[dict[str, Any]]:
    """A tab for each set of options: one that is loaded anew costs a third of one that is opened."""
    opened = dict[str, Any]()
    yield opened
    for one in opened.values():
        one.context.close()


def tab(browser: Any, tabs: dict[str, Any], options: dict[str, Any]) -> Any:
    """The one of `tabs` with these options of a context."""
    if (key := repr(options)) not in tabs:
        context = browser.new_context(reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE)
        tabs[key] = context.new_page()
    return tabs[key]


@pytest.fixture
def visit(browser: Any, tabs: dict[str, Any], served: Server) -> Iterator[Any]:
    """Opens the view; at the end nothing may have been asked of other hosts, thrown or shown by alert().

    Nor may a route that was held be left to wait for ever.

    Visits with the same options are in the same tab, whose storage is empty at the start of a test.

    `refusing`: that the server refuses something is part of the test.
    """
    used, asked, errors = list[Any](), list[str](), list[str]()
    refused = False

    def said(message: Any) -> None:
        if not (refused and message.text.startswith("Failed to load resource")):
            errors.append(message.text)

    heard: dict[str, Any] = {
        "request": lambda request: asked.append(request.url),
        "console": said,
        "pageerror": lambda error: errors.append(str(error)),
        "dialog": lambda dialog: (errors.append(dialog.message), dialog.dismiss()),
    }

    def opened(query: str = "", *, server: Server = served, refusing: bool = False, **options: Any) -> Any:
        nonlocal refused
        refused = refusing
        page = tab(browser, tabs, {"viewport": DESK, **options})
        if page not in used:
            used.append(page)
            for event, take in heard.items():
                page.on(event, take)
        page.goto(f"{server.address}{query.replace('?', '&', 1)}")
        return page

    yield opened
    waiting = [task for page in used for task in asyncio.all_tasks(page._loop) if "_on_route" in repr(task)]
    for page in used:
        page.unroute_all()
        page.evaluate("origin === 'null' || localStorage.clear()")  # null: of about:blank
        for event, take in heard.items():
            page.remove_listener(event, take)
    ours = ("http://127.0.0.1:", "data:", "blob:")
    assert not [url for url in asked if not url.startswith(ours)]
    assert errors == []
    assert not waiting


def barriers(page: Any) -> str:
    """What axe-core's rules of WCAG 2 A and AA find: contrast, names, roles, landmarks."""
    from axe_playwright_python.sync_playwright import Axe

    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]})
    return str(found.generate_report()) if found.response["violations"] else ""


SETTLED = """import('/static/settling.js').then(async ({ settled }) => {
  do await settled(); while (document.querySelector("[data-sending]"));
})"""


def settled(page: Any) -> None:
    """Waits until the image, the maps and all that follows the address or an edit are on the screen."""
    page.locator(".tiles").first.wait_for()
    page.evaluate(SETTLED)
