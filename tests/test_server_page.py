"""The page of the live view in headless Chromium: layers, maps, units, and what it says meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from pages import CAT, DESK, PHONE, barriers, settled
from test_page import HOSTILE

import caffe_viz as cv
from caffe_viz.images import Preprocess, load_image, save_png
from caffe_viz.netdef import parse_net
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.server import Server, serve

pytestmark = pytest.mark.slow
browser, served, tabs, visit = pages.browser, pages.served, pages.tabs, pages.visit

WIDE = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 120 input_dim: 160
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 24 stride: 4 } }
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" }
"""
MAPS = "#maps .tiles button"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A network, an image and labels whose names are HTML."""
    image = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(5)>.png"
    save_png(image, load_image(CAT))
    message = parse_net(HOSTILE)
    preprocess = Preprocess(mean=(100,), scale=1 / 64, resize=None, labels=("<b onclick=alert(6)>", "b", "c"))
    with serve(Network(message, seeded_weights(message, 1), preprocess), image) as server:
        yield server


@pytest.fixture(scope="module")
def wide() -> Iterator[Server]:
    """A network whose units see little of its input."""
    message = parse_net(WIDE)
    network = Network(message, seeded_weights(message, 1), Preprocess(mean=(100,), scale=1 / 64))
    with serve(network, CAT) as server:
        yield server


@pytest.fixture(scope="module")
def activations() -> Any:
    """What the cat makes of the network, by the function of IPython."""
    return cv.show_activations(pages.cifar(), CAT)


def shown(page: Any, selector: str, count: int = 1) -> None:
    """Scrolls there, and waits until so many pictures have arrived."""
    page.locator(selector).scroll_into_view_if_needed()
    page.locator(f"{selector} img").nth(count - 1).wait_for()
    page.evaluate(f"Promise.all([...document.querySelectorAll('{selector} img')].map((i) => i.decode()))")


def parameters(page: Any) -> dict[str, str]:
    """The query of the page's address."""
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    return found


def test_it_begins_with_the_first_filters_and_the_first_image(visit: Any) -> None:
    page = visit()
    settled(page)
    assert re.fullmatch("conv1 . CaffeNet_CIFAR10 . caffe_viz", page.title())
    assert page.get_by_role("heading", name="Maps of conv1").is_visible()
    assert page.locator(MAPS).count() == 48
    assert "token" not in page.url
    assert parameters(page)["layer"] == "conv1"
    assert "48 maps of 32 x 32" in page.locator("#maps").inner_text()
    assert page.locator("#layers [aria-current]").count() == 2  # in the graph, in the list


def test_the_maps_are_those_of_show_activations(visit: Any, activations: Any, tmp_path: Path) -> None:
    page = visit("?layer=conv3")
    settled(page)
    values = activations.arrays["conv3"]
    scaled = 255 * (values - values.min()) / (values.max() - values.min())
    for unit in (0, 16, len(values) - 1):
        tile = page.locator(MAPS).nth(unit).locator(".map")
        (tmp_path / "tile.png").write_bytes(tile.screenshot())
        seen = 255 * load_image(tmp_path / "tile.png")[..., 0]
        middles = [np.arange(0.5, n) * size / n for n, size in zip(values.shape[1:], seen.shape, strict=True)]
        assert np.abs(seen[np.ix_(*(m.astype(int) for m in middles))] - scaled[unit]).max() <= 2


def test_a_click_in_the_graph_shows_the_layer_and_back_returns(visit: Any) -> None:
    page = visit()
    settled(page)
    page.locator(".cvg-drawing a", has_text="conv3").first.click()
    page.get_by_role("heading", name="Maps of conv3").wait_for()
    settled(page)
    assert page.locator(MAPS).count() == 96
    assert str(page.locator(".cvg-drawing [aria-current]").text_content()).startswith("conv3")
    page.go_back()
    page.get_by_role("heading", name="Maps of conv1").wait_for()
    page.go_forward()
    page.get_by_role("heading", name="Maps of conv3").wait_for()


def test_an_address_is_the_view(visit: Any, served: Server) -> None:
    page = visit()
    settled(page)
    page.get_by_role("spinbutton", name="Unit").fill("16")
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_role("heading", name="Unit 16 of conv1").wait_for()
    page.locator("#maps select").select_option("strength")
    view = parameters(page)
    again = visit(page.url[page.url.index("?") :])
    settled(again)
    assert again.get_by_role("heading", name="Unit 16 of conv1").is_visible()
    assert parameters(again) == view
    assert again.locator("#maps select").input_value() == "strength"
    assert again.locator(MAPS).first.get_attribute("data-unit") != "0"


def test_an_address_of_no_layer_is_said(visit: Any) -> None:
    page = visit("?layer=conv77&net=9&unit=3&constructor=1")
    settled(page)
    assert "no layer conv77" in page.locator("#status").inner_text()
    assert parameters(page).keys() == {"layer", "image"}


def test_an_address_of_no_unit_is_said(visit: Any) -> None:
    for unit in ("9999", "-1", "x"):
        page = visit(f"?layer=conv3&unit={unit}")
        settled(page)
        assert f"no unit {unit}: its units are 0 to 95" in page.locator("#status").inner_text()
        assert parameters(page).keys() == {"layer", "image"}


def test_search_by_keyboard(visit: Any) -> None:
    page = visit()
    settled(page)
    page.keyboard.press("/")
    page.keyboard.type("pooling")
    links = page.locator("#layers .list a:visible")
    assert links.all_inner_texts() == [
        "pool1 Pooling 48 x 16 x 16",
        "pool2 Pooling 64 x 8 x 8",
        "pool5 Pooling 64 x 4 x 4",
    ]
    assert page.get_by_text("3 of 24").is_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Maps of pool2").wait_for()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")  # in the field again: the first
    page.get_by_role("heading", name="Maps of pool1").wait_for()


def test_keys_and_how_they_are_turned_off(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16")
    settled(page)
    page.keyboard.press(".")
    page.get_by_role("heading", name="Unit 17 of conv3").wait_for()
    page.keyboard.press(",")
    page.keyboard.press(",")
    page.get_by_role("heading", name="Unit 15 of conv3").wait_for()
    page.keyboard.press("]")
    page.get_by_role("heading", name="Maps of relu3").wait_for()
    page.keyboard.press("[")
    page.get_by_role("heading", name="Maps of conv3").wait_for()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    assert "previous layer" in dialog.inner_text()
    dialog.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    page.keyboard.press("]")
    page.locator("#layer-search").focus()
    page.keyboard.type("[")
    settled(page)
    assert page.get_by_role("heading", name="Maps of conv3").is_visible()


def test_maps_by_keyboard(visit: Any) -> None:
    page = visit("?layer=conv3")
    settled(page)
    tiles = page.locator(MAPS)
    assert page.locator(f'{MAPS}[tabindex="0"]').count() == 1
    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "map 1"
    page.keyboard.press("ArrowDown")
    across = int(page.evaluate("document.activeElement.dataset.unit")) - 1
    assert tiles.nth(across).bounding_box()["x"] == tiles.first.bounding_box()["x"]
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.unit") == "95"
    page.keyboard.press("ArrowRight")  # there is none
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Unit 95 of conv3").wait_for()
    assert page.locator(f"{MAPS}[aria-current]").get_attribute("data-unit") == "95"
    assert page.locator(f'{MAPS}[tabindex="0"]').get_attribute("data-unit") == "95"


def test_maps_by_strength(visit: Any, activations: Any) -> None:
    page = visit("?layer=conv3&order=strength")
    settled(page)
    units = page.locator(MAPS).evaluate_all("tiles => tiles.map((tile) => Number(tile.dataset.unit))")
    means = activations.arrays["conv3"].mean((1, 2))[units]
    assert sorted(units) == list(range(96))
    assert (np.diff(means) <= 1e-4).all()


def test_brighter_maps(visit: Any, activations: Any, tmp_path: Path) -> None:
    page = visit("?layer=conv3")
    settled(page)
    tile = page.locator(MAPS).nth(6).locator(".map")

    def mean() -> float:
        (tmp_path / "tile.png").write_bytes(tile.screenshot())
        return float(load_image(tmp_path / "tile.png").mean())

    before = mean()
    slider = page.get_by_label("Brightness")
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert mean() > 1.5 * before
    assert (
        f"white is {activations.arrays['conv3'].max() / 2:.4g} and more" in page.locator("#maps").inner_text()
    )
    assert parameters(page)["bright"] == "2"


def test_the_image_and_its_answer_can_be_hidden(visit: Any) -> None:
    page = visit("?layer=conv3")
    settled(page)
    answer, before = page.locator("#answers"), page.locator("#maps").bounding_box()["height"]
    page.get_by_role("button", name="Image and answer").click()
    assert answer.is_hidden()
    assert page.locator("#maps").bounding_box()["height"] > before + 200
    again = visit(page.url[page.url.index("?") :])
    settled(again)
    assert again.locator("#answers").is_hidden()
    again.get_by_role("navigation").get_by_role("link", name="Answer").click()
    assert again.locator("#answers").is_visible()


def test_all_maps_are_seen_at_once(visit: Any) -> None:
    for size in (DESK, {"width": 1200, "height": 850}):
        page = visit("?layer=conv3", viewport=size)
        settled(page)
        column, last = page.locator("#maps").bounding_box(), page.locator(MAPS).last.bounding_box()
        assert last["y"] + last["height"] <= column["y"] + column["height"]
        assert last["width"] >= 24


def test_values_of_a_vector(visit: Any, activations: Any) -> None:
    page = visit("?layer=prob")
    settled(page)
    cat = page.locator(MAPS).nth(3)
    value = float(str(cat.get_attribute("aria-label")).removeprefix("3 cat: "))
    assert value == pytest.approx(activations.arrays["prob"][3], rel=1e-3)
    page.locator("#layers .list a", has_text="fc6 ").dispatch_event("click")
    page.get_by_role("heading", name="Values of fc6").wait_for()
    settled(page)
    assert page.locator(MAPS).count() == 256
    page.locator(MAPS).nth(5).click()
    page.get_by_role("heading", name="Unit 5 of fc6").wait_for()


def test_the_panel_of_a_unit(visit: Any, activations: Any) -> None:
    page = visit("?layer=conv3&unit=6")
    settled(page)
    for part, pictures in (("#seen", 3), ("#kernel", 1), ("#gradients", 3)):
        shown(page, part, pictures)
    array = activations.arrays["conv3"][6]
    words = page.locator("#seen").inner_text()
    low, high, mean = map(float, re.findall(r"values\s+(\S+) to (\S+), on average (\S+)", words)[0])
    assert [low, high, mean] == pytest.approx([array.min(), array.max(), array.mean()], rel=1e-3)
    row, column = map(int, re.findall(r"row (\d+), column (\d+)", words)[0])
    assert array[row, column] == array.max()
    assert float(re.findall(r"([\d.]+) %", words)[0]) == pytest.approx(100 * (array == 0).mean(), abs=0.06)
    assert "3 x 3" in page.locator("#kernel").inner_text()
    captions = page.locator("#gradients figcaption").all_inner_texts()
    assert [caption.split("\n")[0].split(" save")[0] for caption in captions] == ["gradient", "guided backpropagation", "deconvnet"]  # fmt: skip


def test_pixels_of_the_strongest_place_and_of_the_whole_map(visit: Any, activations: Any) -> None:
    page = visit("?layer=conv3&unit=6")
    settled(page)
    array = activations.arrays["conv3"][6]
    row, column = np.unravel_index(array.argmax(), array.shape)
    shown(page, "#gradients", 3)
    asked = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert [f"target=conv3%3A6%3A{row}%2C{column}&" in url for url in asked if "/attribution?" in url].count(
        True
    ) == 3
    with page.expect_request("**/api/attribution?*") as asked:
        page.locator("#gradients select").select_option("map")
        page.locator("#gradients").scroll_into_view_if_needed()  # what has come above may have moved it
    assert "target=conv3%3A6&" in asked.value.url
    settled(page)
    assert page.locator("#gradients .failed").count() == 0


def test_pixels_are_shown_around_what_the_place_sees(visit: Any, wide: Server, tmp_path: Path) -> None:
    page = visit("?layer=conv&unit=1", server=wide)
    settled(page)
    shown(page, "#gradients", 3)
    rows_columns = r"rows (\d+) to (\d+), columns (\d+) to (\d+)"
    seen = [int(n) for n in re.findall(rows_columns, page.locator("#seen").inner_text())[0]]
    figure = page.locator("#gradients figure").first
    part = [int(n) for n in re.findall(rows_columns, figure.inner_text())[0]]
    for (low, high), (first, last), size in zip(
        (seen[:2], seen[2:]), (part[:2], part[2:]), (120, 160), strict=True
    ):
        assert (high - low, last - first) == (24, 48)
        assert first == min(max(0, low - 12), size - 48)
    with page.expect_download() as download:
        figure.get_by_role("link", name="save the picture").click()
    download.value.save_as(tmp_path / "whole.png")
    whole = load_image(tmp_path / "whole.png")
    assert whole.shape == (120, 160, 3)

    def pixels(element: Any) -> Any:
        (tmp_path / "part.png").write_bytes(element.screenshot())
        found = load_image(tmp_path / "part.png")
        middles = [(np.arange(0.5, 48) * side / 48).astype(int) for side in found.shape[:2]]
        return found[np.ix_(*middles)]

    expected = whole[part[0] : part[1], part[2] : part[3]]
    assert expected.std() > 0.05
    assert np.abs(pixels(figure.locator(".part")) - expected).max() < 0.02
    figure.locator(".zoom").click()
    large = page.get_by_role("dialog").locator(".part")
    assert large.bounding_box()["width"] == pytest.approx(large.bounding_box()["height"], abs=1)
    assert np.abs(pixels(large) - expected).max() < 0.02
    page.keyboard.press("Escape")
    page.locator("#gradients select").select_option("map")
    page.locator("#gradients").scroll_into_view_if_needed()
    page.locator("#gradients figcaption", has_text="rows").first.wait_for(state="detached")
    shown(page, "#gradients", 3)
    assert "rows" not in page.locator("#gradients").inner_text()


def test_the_part_around_a_box(visit: Any) -> None:
    """Half its size on each side, at least 32 pixels, never outside."""
    page = visit()
    around = "([box, size]) => import('/static/around.js').then(({ around }) => around(box, size))"
    size = {"width": 300, "height": 200}
    for box, part in {
        (100, 60, 150, 80): (75, 50, 100, 40), (100, 60, 101, 61): (85, 45, 32, 32), (0, 290, 20, 300): (0, 268, 40, 32),
        (180, 0, 200, 200): (160, 0, 40, 300), (0, 0, 200, 300): (0, 0, 200, 300), (9, 9, 9, 9): (0, 0, 32, 32),
    }.items():  # fmt: skip
        found = page.evaluate(around, [box, size])
        assert tuple(found[name] for name in ("top", "left", "height", "width")) == part
    assert page.evaluate(around, [(3, 3, 9, 9), {"width": 20, "height": 10}])["width"] == 20


def test_arrow_keys_show_the_other_pictures(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16")
    settled(page)
    buttons = page.locator(".zoom:visible")
    alts = buttons.evaluate_all("all => all.map((one) => [...one.querySelectorAll('img')].at(-1).alt)")
    buttons.first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    seen = [dialog.get_by_role("status").inner_text()]
    page.keyboard.press("ArrowLeft")  # there is none
    for _ in alts:
        page.keyboard.press("ArrowRight")
        seen.append(dialog.get_by_role("status").inner_text())
    assert seen == [*alts, alts[-1]]
    assert dialog.get_attribute("aria-label") == alts[-1]
    dialog.get_by_role("button", name="previous picture").click()
    assert dialog.locator("img").last.get_attribute("alt") == alts[-2]
    assert dialog.locator("img").last.get_attribute("src") == buttons.nth(-2).locator(
        "img"
    ).last.get_attribute("src")
    page.keyboard.press("Escape")
    assert buttons.nth(-2).evaluate("button => button === document.activeElement")


def test_neighbours_of_a_unit(visit: Any) -> None:
    page = visit("?layer=conv3&unit=94")
    settled(page)
    after = page.get_by_role("button", name="next →")
    after.click()
    page.get_by_role("heading", name="Unit 95 of conv3").wait_for()
    assert after.is_disabled()
    page.keyboard.press(".")
    settled(page)
    assert parameters(page)["unit"] == "95"


def test_a_layer_without_weights_says_so(visit: Any) -> None:
    page = visit("?layer=pool1&unit=3")
    page.locator("#kernel").scroll_into_view_if_needed()
    page.get_by_text("This layer has no weights.").wait_for()


def test_places_in_the_photographs(visit: Any) -> None:
    page = visit("?layer=conv3&unit=6")
    page.locator("#places").scroll_into_view_if_needed()
    page.get_by_text("4 photos looked at").wait_for()
    shown(page, "#places")
    captions = page.locator("#places figcaption").all_inner_texts()
    values = [float(caption.split()[0]) for caption in captions]
    assert values == sorted(values, reverse=True)
    assert all(re.search(r"in photo \d\.png", caption) for caption in captions)


def test_a_unit_that_no_photograph_activates(visit: Any) -> None:
    page = visit("?layer=fc6&unit=2")
    page.locator("#places").scroll_into_view_if_needed()
    page.get_by_text("4 photos looked at").wait_for()
    shown(page, "#places")
    page.get_by_role("spinbutton", name="Unit").fill("5")
    page.keyboard.press("Enter")
    page.get_by_text("it is active in none of them").wait_for()
    assert page.locator("#places img").count() == 0


def test_pictures_are_large_and_saved(visit: Any, activations: Any, tmp_path: Path) -> None:
    page = visit("?layer=conv3&unit=16")
    settled(page)
    button = page.locator("#seen .zoom").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.locator("img").bounding_box()["width"] > 3 * button.bounding_box()["width"]
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.className") == "zoom"
    with page.expect_download() as download:
        page.locator("#seen").get_by_role("link", name="save the data").click()
    download.value.save_as(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as saved:
        assert (saved["map"] == activations.arrays["conv3"][16]).all()
    with page.expect_download() as download:
        page.get_by_role("link", name="save the picture of the maps").click()
    assert download.value.suggested_filename.endswith(".png")
    download.value.save_as(tmp_path / "maps.png")
    assert load_image(tmp_path / "maps.png").std() > 0


def test_send_as_a_page(visit: Any, hostile: Server, tmp_path: Path) -> None:
    page = visit("?layer=prob", server=hostile)
    settled(page)
    page.route(
        "**/api/events?ask=report*", lambda route: route.continue_(url=f"{route.request.url}%26budget%3D0")
    )
    page.get_by_role("button", name="Send as a page").click()
    link = page.get_by_role("link", name="Save the page")
    link.wait_for()
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename.endswith(".html")
    download.value.save_as(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "&lt;img src=x onerror=alert(5)&gt;.png" in html
    assert "activations of prob" in html


def test_two_networks(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16")
    settled(page)
    before = page.locator("#seen dd").all_inner_texts()
    page.locator("#tools select").select_option("1")
    page.wait_for_url(re.compile("net=1"))
    settled(page)
    assert page.get_by_role("heading", name="Unit 16 of conv3").is_visible()
    assert page.locator("#seen dd").all_inner_texts() != before


def test_the_status_line_says_what_goes_on(visit: Any) -> None:
    page = visit()
    settled(page)
    line, said = page.locator("#status"), page.locator("#status [role=status]")
    page.evaluate("""async () => {
      const { working } = await import("/static/status.js");
      window.task = working("climbing conv3:16", { cancel: () => { window.cancelled = true; window.task.end(); } });
      window.task.queued(2);
    }""")
    assert "climbing conv3:16" in line.inner_text()
    assert "waiting, 2 before it" in line.inner_text()
    page.evaluate("window.task.progress({ done: 16, total: 64, remaining: 90 })")
    assert "25 %, 2 min left" in line.inner_text()
    assert line.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 0.25
    assert said.evaluate("p => p.querySelector(':not([aria-hidden])').textContent") == "climbing conv3:16"
    line.get_by_role("button", name="Cancel").click()
    assert page.evaluate("window.cancelled")
    assert "climbing" not in line.inner_text()


def test_what_takes_long_is_followed_and_cancelled(visit: Any) -> None:
    page = visit("?layer=conv3")
    settled(page)
    found = page.evaluate("""async () => {
      const { follow } = await import("/static/api.js");
      const ask = (cancelled) => new Promise((resolve) => {
        const seen = [];
        const search = follow("ascent", { objective: "conv3:16", steps: 2048 }, {
          progress: ({ done }) => { seen.push(done); if (cancelled) search.cancel(); },
          failed: (error) => seen.push(error.message), ended: () => resolve(seen),
        }, { slot: String(cancelled) });
      });
      const wrong = new Promise((resolve) => follow("ascent", { objective: "conv99:1" }, { failed: (error) => resolve(error.message) }));
      return [await ask(true), await wrong];
    }""")
    assert len(found[0]) == 1
    assert "conv99" in found[1]
    assert page.locator("#status").get_by_role("button").is_hidden()


def test_one_stream_has_all_that_a_tab_follows(visit: Any) -> None:
    """Eight questions, though a browser has six connections to a server; one is left while another goes on."""
    page = visit("?layer=conv3")
    settled(page)
    streams = list[str]()
    page.on("request", lambda request: "/events" in request.url and streams.append(request.url))
    found = page.evaluate("""async () => {
      const { follow, network } = await import("/static/api.js");
      const climb = (unit) => {
        const one = { done: [], wake: null };
        one.next = () => new Promise((resolve) => { one.wake = resolve; });
        const { cancel } = follow("ascent", { objective: `conv3:${unit}`, steps: 2048 }, {
          progress: ({ done }) => { one.done.push(done); one.wake?.(); },
          failed: (error) => { throw error; },
        }, { slot: `climb ${unit}` });
        return Object.assign(one, { cancel });
      };
      const busy = async () => (await (await fetch("/api/status")).json()).workers[1];
      const [first, second, ...others] = [0, 1, 2, 3, 4, 5, 6, 7].map(climb);
      while (!(first.done.at(-1) > 0)) await first.next();
      await network();
      const before = first.done.at(-1);
      first.cancel();
      while (!(second.done.at(-1) > 0)) await second.next();
      const then = first.done.at(-1), again = climb(0);
      while (!(again.done.at(-1) > 0)) await again.next();
      const after = again.done.at(-1);
      [again, second, ...others].forEach(({ cancel }) => cancel());
      while ((await busy()).busy || (await busy()).waiting) await new Promise((resolve) => setTimeout(resolve, 20));
      return { before, then, after };
    }""")
    assert found["before"] == found["then"] <= found["after"]
    assert [url.count("ask=") for url in streams] == [8, 7, 8]


def test_the_newest_question_wins(visit: Any) -> None:
    page = visit()
    settled(page)
    held = list[Any]()
    page.route("**/api/maps?*layer=conv2*", lambda route: held.append(route))
    page.keyboard.press("/")
    for name in ("conv2", "conv3"):
        page.locator("#layer-search").fill(name)
        page.keyboard.press("Enter")
    page.get_by_text("96 maps of 8 x 8").wait_for()
    assert held
    for route in held:
        route.abort()
    assert page.locator(MAPS).count() == 96


def test_an_answer_of_a_unit_that_was_left_is_not_shown(visit: Any) -> None:
    page = visit("?layer=conv3")
    settled(page)
    held = list[Any]()
    page.route("**/api/unit?*", lambda route: held.append(route))
    with page.expect_request("**/api/unit?*"):
        page.locator(MAPS).nth(6).click()
    page.keyboard.press("]")
    page.get_by_role("heading", name="Maps of relu3").wait_for()
    with page.expect_response("**/api/unit?*"):
        held.pop(0).continue_()
    for route in held:
        route.abort()
    settled(page)
    assert page.locator("#unit h2").inner_text() == "Unit"
    assert page.locator("#seen img").count() == 0


def test_a_server_that_is_gone_is_said(visit: Any) -> None:
    page = visit(refusing=True)
    settled(page)
    page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    page.locator(".cvg-drawing a", has_text="conv3").first.click()
    page.get_by_text("Start caffe-viz serve again").wait_for()
    assert page.locator("#maps .failed").inner_text() == "The server does not answer."
    page.unroute("**/api/**")
    page.route("**/api/**", lambda route: route.fulfill(status=403, json={"error": "no"}))
    page.locator(".cvg-drawing a", has_text="conv4").first.click()
    page.get_by_text("Open the address that caffe-viz serve printed last.").wait_for()
    page.unroute("**/api/**")
    page.locator(".cvg-drawing a", has_text="conv5").first.click()
    settled(page)
    assert page.locator("#maps .failed").count() == 0
    assert page.locator(MAPS).count() == 64


def test_without_photos_it_says_how(visit: Any, hostile: Server) -> None:
    page = visit("?layer=prob&unit=1", server=hostile)
    settled(page)
    page.locator("#places").scroll_into_view_if_needed()
    page.get_by_text("--photos FOLDER").wait_for()


def test_hostile_names_are_text(visit: Any, hostile: Server) -> None:
    page = visit(server=hostile)
    settled(page)
    assert page.locator("h1").inner_text() == "<script>alert(1)</script>"
    for name in ('"><img src=x onerror=alert(2)>', "../../é日本 \\N 'quoted'", "javascript:alert(4)", "prob"):
        page.locator("#layers .list a").filter(has_text=name).first.dispatch_event("click")
        page.locator("#maps h2", has_text=f" of {name}").wait_for()
        settled(page)
        page.locator(MAPS).first.click()
        page.locator("#unit h2", has_text=f"Unit 0 of {name}").wait_for()
        settled(page)
    for link in page.locator(".cvg-drawing a").all():
        assert str(link.get_attribute("href")).startswith("?layer=")
    assert page.evaluate("document.querySelectorAll('img[src=x], b').length") == 0
    assert page.evaluate("document.scripts.length") == 2


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_axe_finds_no_barrier(visit: Any, scheme: str, size: dict[str, int]) -> None:
    for query in ("?layer=conv3&unit=16", "?layer=prob"):
        page = visit(query, color_scheme=scheme, viewport=size)
        settled(page)
        assert barriers(page) == ""
        page.keyboard.press("?")
        assert barriers(page) == ""


def test_a_phone_needs_no_sideways_scrolling(visit: Any, hostile: Server) -> None:
    for query, options in (("?layer=conv3&unit=6", {}), ("?layer=prob&unit=1", {"server": hostile})):
        page = visit(query, viewport=PHONE, has_touch=True, **options)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_on_a_phone_what_was_chosen_comes_into_view(visit: Any) -> None:
    page = visit(viewport=PHONE, has_touch=True)
    settled(page)
    page.locator(".cvg-drawing a", has_text="conv3").first.tap()
    page.get_by_role("heading", name="Maps of conv3").wait_for()
    top = page.locator("#maps").bounding_box()["y"]
    assert page.locator("header nav").bounding_box()["height"] <= top + 1 < 300
    settled(page)
    page.locator(MAPS).nth(16).tap()
    page.get_by_role("heading", name="Unit 16 of conv3").wait_for()
    assert page.evaluate("document.activeElement.id") == "unit"


def test_nothing_jumps_while_pictures_arrive(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16")
    page.evaluate("""() => {
      window.jumped = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.jumped += entry.hadRecentInput ? 0 : entry.value; }))
        .observe({ type: "layout-shift", buffered: true });
    }""")
    settled(page)
    shown(page, "#seen")
    assert page.evaluate("window.jumped") < 0.02


def test_the_policy_holds(browser: Any, served: Server) -> None:
    """What might get into the page all the same: no picture from outside, no script, no style."""
    page = browser.new_page()
    page.goto(served.address)
    broken = page.evaluate("""async () => {
      const broken = [];
      document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
      const box = document.createElement("div"), script = document.createElement("script");
      box.innerHTML = "<img src='http://localhost:9/x.png'><p style='color: red'>";
      script.textContent = "window.ran = true";
      document.body.append(box, script);
      await fetch("http://localhost:9/").catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 300));
      return [[...new Set(broken)].sort(), window.ran === true];
    }""")
    assert broken == [["connect-src", "img-src", "script-src-elem", "style-src-attr"], False]
