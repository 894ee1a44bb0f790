"""The page of a report in a real browser: headless Chromium, driven by playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from attribution_toy import pooled

from caffe_viz.deploying import preprocess_near
from caffe_viz.images import Preprocess, load_image, save_png
from caffe_viz.netdef import parse_net
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.report import RunningReport
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import Figure, PartResult

browser, tabs = pages.browser, pages.tabs
pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1200, "height": 900}
HOSTILE = """
name: "<script>alert(1)</script>"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 24 dim: 24 } } }
layer { name: "\\"><img src=x onerror=alert(2)>" type: "Convolution" bottom: "data" top: "</svg><script>alert(3)</script>" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "../../é日本 \\\\N 'quoted'" type: "ReLU" bottom: "</svg><script>alert(3)</script>" top: "</svg><script>alert(3)</script>" }
layer { name: "javascript:alert(4)" type: "InnerProduct" bottom: "</svg><script>alert(3)</script>" top: "]]>--><!--" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "]]>--><!--" top: "prob" }
"""


def reported(subject: ReportContext, folder: Path, budget: float = 0, **options: Any) -> Path:
    """The page with all that it needs; with time for more, also with the first inputs that maximise filters."""
    reporting = RunningReport(subject, folder, budget=budget, **options)
    for _ in reporting:
        if list(reporting.cache.folder.glob("*-ascent-*.json")):
            break
    reporting.write()
    return reporting.path


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of caffenet_cifar10 with two images and the record of its training."""
    folder = tmp_path_factory.mktemp("cifar")
    save_png(folder / "tac.png", load_image(CAT)[:, ::-1])
    net = REPOSITORY / "prototxt" / "caffenet_cifar10"
    prototxt = net / "deploy.prototxt"
    network = Network(prototxt, net / "caffenet_cifar10.caffemodel", preprocess_near(prototxt))
    record = REPOSITORY / "examples" / "caffenet_cifar10.record"
    return reported(ReportContext.of(network, [CAT, folder / "tac.png"], record=record), folder, 600)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    image = folder / "<img src=x onerror=alert(5)>.png"
    save_png(image, load_image(CAT))
    message = parse_net(HOSTILE)
    preprocess = Preprocess(mean=(100,), scale=1 / 64, resize=None, labels=("<b onclick=alert(6)>", "b", "c"))
    return reported(
        ReportContext.of(Network(message, seeded_weights(message, 1), preprocess), [image]), folder, 600
    )


@pytest.fixture
def visit(browser: Any, tabs: dict[str, Any]) -> Iterator[Any]:
    """Opens a page; at the end nothing may have been asked of the network, thrown or shown by alert()."""
    used, asked, errors = list[Any](), list[str](), list[str]()
    heard: dict[str, Any] = {
        "request": lambda request: asked.append(request.url),
        "console": lambda message: errors.append(message.text),
        "pageerror": lambda error: errors.append(str(error)),
        "dialog": lambda dialog: (errors.append(dialog.message), dialog.dismiss()),
    }

    def opened(path: Path, **options: Any) -> Any:
        page = pages.tab(browser, tabs, {"viewport": DESK, **options})
        if page not in used:
            used.append(page)
            for event, take in heard.items():
                page.on(event, take)
        page.goto(path.as_uri())
        return page

    yield opened
    for page in used:
        for event, take in heard.items():
            page.remove_listener(event, take)
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert not errors


def index_of(page: Any, name: str) -> str:
    """The address of the layer of that name."""
    return str(
        page.locator("article.layer", has=page.get_by_role("heading", name=name)).first.get_attribute("id")
    )


def test_it_loads_and_shows_what_there_is(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    assert page.title().startswith("CaffeNet_CIFAR10")
    assert page.locator(".cvg-drawing").bounding_box()["height"] > 300
    assert page.get_by_text("could not be made").count() == 0
    for picture in (
        "kernels of conv1",
        "grad-cam for fc8 3 cat in",
        "training: loss and scores",
        "training: norm of the update over that of the weights",
        "input that maximises fc8 3 cat",
    ):
        image = page.locator(f'img[alt^="{picture}"]:visible').first
        image.scroll_into_view_if_needed()
        page.wait_for_function(
            "image => image.complete && image.naturalWidth > 0", arg=image.element_handle()
        )
    guesses = page.locator(".guesses").first.inner_text()
    assert guesses.split("\n")[1].startswith("cat (3)")


def test_a_click_in_the_graph_goes_to_the_layer(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    page.locator(".cvg-drawing a", has_text="conv3").first.click()
    assert page.evaluate("location.hash") == f"#{index_of(page, 'conv3')}"
    assert page.evaluate("document.activeElement.id") == index_of(page, "conv3")
    top = page.locator(f"#{index_of(page, 'conv3')} h3").bounding_box()["y"]
    assert page.locator("header").bounding_box()["height"] <= top < 300  # not behind the header


def test_the_table_is_sorted_and_searched(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    rows = page.locator("#layer-table tbody tr:visible")
    head = page.get_by_role("button", name="multiply-adds")
    head.click()
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    assert rows.last.locator("td").nth(1).inner_text() == "conv2"
    head.click()
    assert rows.first.locator("td").nth(1).inner_text() == "conv2"
    assert page.locator("[aria-sort]").count() == 1
    page.get_by_role("button", name="index", exact=True).click()
    assert rows.locator("td:first-child").all_inner_texts() == [str(n) for n in range(24)]
    page.get_by_label("Search").fill("pooling pool5")
    assert rows.count() == 1
    assert page.get_by_text("1 of 24 layers").is_visible()
    page.get_by_label("Search").fill("")
    assert rows.count() == 24


def test_the_image_is_chosen_for_all_layers(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    shown = page.locator("[data-image]:visible")
    assert set(shown.evaluate_all("parts => parts.map(p => p.dataset.image)")) == {"0"}
    page.get_by_label("Activations for").select_option("1")
    assert set(shown.evaluate_all("parts => parts.map(p => p.dataset.image)")) == {"1"}
    assert shown.count() == page.locator('[data-image="1"]').count() > 10


def test_sliders(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    strength, heat = page.get_by_label("Strength of the maps"), page.locator(".stack .map").first
    opacity = "image => Number(getComputedStyle(image).opacity)"
    assert heat.evaluate(opacity) == pytest.approx(0.55)
    strength.focus()
    page.keyboard.press("End")
    assert heat.evaluate(opacity) == 1
    page.keyboard.press("Home")
    assert heat.evaluate(opacity) == 0
    film = page.locator(".film")
    film.locator("input").focus()
    page.keyboard.press("Home")
    assert film.locator("output").inner_text() == "0"
    assert film.locator(".frame:visible img").get_attribute("alt") == "kernels of conv1 after iteration 0"
    page.keyboard.press("ArrowRight")
    assert film.locator("output").inner_text() == "500"
    assert film.locator(".frame:visible").count() == 1


def test_large_pictures_by_keyboard(cifar: Path, visit: Any, tmp_path: Path) -> None:
    page = visit(cifar)
    dialog, button = (
        page.get_by_role("dialog"),
        page.locator(".zoom", has=page.get_by_alt_text("kernels of conv1")).last,
    )
    button.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    small, large = button.bounding_box(), dialog.locator("img").bounding_box()
    assert large["width"] * large["height"] > small["width"] * small["height"]
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Save").click()
    download.value.save_as(tmp_path / "saved.png")
    assert download.value.suggested_filename == "conv1_kernels.png"
    assert load_image(tmp_path / "saved.png").shape[1] == int(button.locator("img").get_attribute("width"))
    words = dialog.get_by_role("status").inner_text()
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("status").inner_text() not in ("", words)
    assert "activations of conv1" in str(dialog.locator("img").get_attribute("alt"))
    page.keyboard.press("ArrowLeft")
    assert dialog.get_by_role("status").inner_text() == words
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    focused = page.evaluate("document.activeElement.querySelector('img').alt")
    assert "activations of conv1" in focused  # where one had arrived


def test_an_overlay_is_large_with_its_image(cifar: Path, visit: Any) -> None:
    page = visit(cifar)
    page.locator(".stack").first.click()
    images = page.locator("dialog .stack img")
    assert images.count() == 2
    assert images.first.bounding_box() == images.last.bounding_box()
    assert images.first.bounding_box()["height"] > 400


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_axe_finds_no_barrier(cifar: Path, visit: Any, scheme: str, size: dict[str, int]) -> None:
    assert pages.barriers(visit(cifar, color_scheme=scheme, viewport=size)) == ""


def test_dark_and_light(cifar: Path, visit: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = (
        [int(n) for n in re.findall(r"\d+", visit(cifar, color_scheme=scheme).evaluate(paper))]
        for scheme in ("light", "dark")
    )
    assert min(light) > 240
    assert max(dark) < 40


def test_a_phone_needs_no_sideways_scrolling(cifar: Path, hostile: Path, visit: Any) -> None:
    for path in (cifar, hostile):
        page = visit(path, viewport=PHONE, has_touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_words_of_the_table_stay_whole(cifar: Path, hostile: Path, visit: Any) -> None:
    page = visit(cifar, viewport=PHONE, has_touch=True)
    tops = "c => { const r = new Range(); r.selectNodeContents(c); return [...r.getClientRects()].map((x) => x.top); }"
    for word in ("Convolution", "InnerProduct"):
        assert len(set(page.locator("#layer-table td", has_text=word).first.evaluate(tops))) == 1
    widths = (
        visit(hostile).locator("#layer-table td").evaluate_all("cells => cells.map((c) => c.offsetWidth)")
    )
    assert max(widths) < 300  # names of any length


def test_a_layer_that_is_clicked_stays_where_it_is(cifar: Path, visit: Any) -> None:
    for size in (DESK, PHONE):
        page = visit(cifar, viewport=size)
        words = page.locator(f"#{index_of(page, 'conv1')} dd").first
        words.scroll_into_view_if_needed()
        before = words.bounding_box()
        words.click()
        assert page.evaluate("document.activeElement.id") == index_of(page, "conv1")
        assert words.bounding_box() == before


def test_without_javascript_everything_is_there(cifar: Path, visit: Any) -> None:
    page = visit(cifar, java_script_enabled=False)
    page.locator(".cvg-drawing a", has_text="conv3").first.click()
    assert page.url.endswith(f"#{index_of(page, 'conv3')}")
    assert page.locator('[data-image="1"]').first.is_visible()


def test_it_prints(cifar: Path, visit: Any, tmp_path: Path) -> None:
    page = visit(cifar)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("SHA-256").first.is_visible()
    assert not page.get_by_label("Search").is_visible()
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 with Chromium's margins
    assert page.locator("#layer-table").bounding_box()["width"] <= 718
    printed = page.pdf()
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 8 < pages < 80
    shown = page.locator("main img:visible").evaluate_all("images => new Set(images.map((i) => i.src)).size")
    assert printed.count(b"/Subtype /Image") >= shown > 30  # also those that were not scrolled to


def test_hostile_names_are_shown_and_do_nothing(hostile: Path, visit: Any) -> None:
    page = visit(hostile)
    assert page.locator("h1").inner_text() == "<script>alert(1)</script>"
    for name in ('"><img src=x onerror=alert(2)>', "../../é日本 \\N 'quoted'", "javascript:alert(4)"):
        assert page.get_by_role("heading", name=name).count() == 1
    assert page.locator(".cvg-drawing a").count() >= 4
    for link in page.locator(".cvg-drawing a").all():
        assert re.fullmatch(r"#layer-\d+", str(link.get_attribute("href")))
    page.locator(".cvg-drawing a", has_text="javascript:alert(4)").first.click()
    assert page.evaluate("location.hash") == f"#{index_of(page, 'javascript:alert(4)')}"
    page.locator(".zoom").first.click()
    page.keyboard.press("Escape")
    assert page.evaluate("document.scripts.length") == 1


def test_the_policy_holds(hostile: Path, browser: Any) -> None:
    """What might get into the page all the same: no picture from outside, no script, no style."""
    page = browser.new_page()
    page.goto(hostile.as_uri())
    broken = page.evaluate(
        """async () => {
          const broken = [];
          document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
          const image = new Image(), script = document.createElement("script"), style = document.createElement("style");
          image.src = "http://localhost:9/x.png";
          script.textContent = "window.ran = true";
          style.textContent = "body { display: none }";
          document.body.append(image, script, style);
          await fetch("http://localhost:9/").catch(() => {});
          await new Promise((resolve) => setTimeout(resolve, 300));
          return [broken.sort(), window.ran === true];
        }"""
    )
    assert broken == [["connect-src", "img-src", "script-src-elem", "style-src-elem"], False]


def test_pictures_beside_the_page_load(visit: Any, tmp_path: Path) -> None:
    message, weights = pooled()
    save_png(tmp_path / "a.png", load_image(CAT))
    preprocess = Preprocess(mean=(100,), scale=1 / 64, resize=None)
    subject = ReportContext.of(Network(message, weights, preprocess), [tmp_path / "a.png"])
    page = visit(reported(subject, tmp_path / "out", beside=True))
    image = page.get_by_alt_text("kernels of conv1").first
    image.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_many_pictures_load_as_they_come_into_view_and_nothing_jumps(visit: Any, tmp_path: Path) -> None:
    message, weights = pooled()
    reporting = RunningReport(ReportContext.of(Network(message, weights)), tmp_path / "out", budget=0)
    noise = np.random.default_rng(0).random((600, 64, 64, 3)).astype(np.float32)
    figures = tuple(Figure(rgb, f"filter {k}", f"filter_{k}", photo=True) for k, rgb in enumerate(noise))
    facts = {"titles": [str(k) for k in range(600)], "values": [1.0] * 600, "dead": [], "method": ""}
    reporting.cache.keep("layer-0001-ascent-00000", PartResult(facts, figures))
    reporting.write()
    page = visit(reporting.path)
    loaded = "[...document.images].filter((image) => image.complete && image.naturalWidth).length"
    assert page.evaluate("document.images.length") == 600
    assert page.evaluate(loaded) < 300
    jumped = page.evaluate(
        """async () => {
          let sum = 0;
          new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
            .observe({ type: "layout-shift", buffered: true });
          for (let y = 0; y < document.documentElement.scrollHeight; y += 600) {
            scrollTo(0, y);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          return sum;
        }"""
    )
    assert jumped < 0.001
    page.wait_for_function(f"{loaded} === document.images.length")
