"""The page of the live view in headless Chromium: images, answers, attributions, ascents, comparisons."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pages
import pytest
from pages import CAT, DESK, PATIENCE, PHONE, barriers, settled

from caffe_viz.images import load_image, save_png

pytestmark = pytest.mark.slow
served, tabs, visit = pages.served, pages.tabs, pages.visit
expect = pages.playwright.expect
expect.set_options(timeout=PATIENCE)

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
ROWS, SAID = "#answers .guesses tbody tr", "#answers .said"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Headless Chromium with a webcam that shows a moving test picture."""
    with pages.playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *CAMERA])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def upside_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that the server does not know."""
    path = tmp_path_factory.mktemp("images") / "upside down.png"
    save_png(path, load_image(CAT)[::-1])
    return path


@pytest.fixture
def desk(visit: Any) -> Any:
    """The page, ready to be used."""
    page = visit("?layer=conv1")
    settled(page)
    return page


def parameters(page: Any) -> dict[str, str]:
    """The query of the page's address."""
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    return found


def answer(page: Any) -> list[str]:
    """The rows of the table of classes."""
    settled(page)
    return [" ".join(text.split()) for text in page.locator(ROWS).all_inner_texts()]


def arrived(page: Any, selector: str) -> None:
    """Waits until the pictures there are on the screen."""
    expect(page.locator(f"{selector} img").first).to_be_visible()
    page.evaluate(
        "s => Promise.all([...document.querySelectorAll(s)].map((one) => one.decode()))", f"{selector} img"
    )


def given(page: Any, kind: str, field: str, path: Path | None, text: str = "") -> None:
    """A drop or a paste of a file, or of text alone."""
    file = None if path is None else [path.name, base64.b64encode(path.read_bytes()).decode()]
    page.evaluate(
        """([kind, field, file, text]) => {
          const data = new DataTransfer();
          if (file) data.items.add(new File([Uint8Array.from(atob(file[1]), (c) => c.charCodeAt(0))], file[0]));
          else data.setData("text/plain", text);
          const constructor = kind === "drop" ? DragEvent : ClipboardEvent;
          document.body.dispatchEvent(new constructor(kind, { [field]: data, bubbles: true, cancelable: true }));
        }""",
        [kind, field, file, text],
    )


def dropped(page: Any, path: Path) -> None:
    given(page, "drop", "dataTransfer", path)


def pasted(page: Any, path: Path) -> None:
    given(page, "paste", "clipboardData", path)


def chosen(page: Any, path: Path) -> None:
    page.get_by_label("Choose an image").set_input_files(path)


@pytest.mark.parametrize("give", [dropped, pasted, chosen])
def test_an_image_comes_to_the_page(desk: Any, upside_down: Path, give: Callable[[Any, Path], None]) -> None:
    before, maps = answer(desk), desk.locator("#maps .tiles").screenshot()
    give(desk, upside_down)
    expect(desk.locator("#images .current")).to_contain_text("upside down.png, 451 x 300")
    expect(desk.locator("#status")).to_contain_text("upside down.png is the image now")
    assert answer(desk) != before
    assert desk.locator("#maps .tiles").screenshot() != maps
    expect(desk.get_by_role("radio", name="upside down.png")).to_be_checked()
    desk.go_back()
    expect(desk.locator("#images .current")).to_contain_text("cat.png")


def test_several_files_are_in_the_strip(desk: Any, upside_down: Path, tmp_path: Path) -> None:
    save_png(tmp_path / "another.png", load_image(CAT)[50:, 50:])
    desk.get_by_label("Choose an image").set_input_files([upside_down, tmp_path / "another.png"])
    expect(desk.get_by_role("radio", name="upside down.png")).to_be_checked()
    expect(desk.get_by_role("radio", name="another.png")).to_be_visible()


def test_what_is_too_large_or_no_image_is_said(visit: Any, tmp_path: Path) -> None:
    page = visit("?layer=conv1", refusing=True)
    before = answer(page)
    (tmp_path / "large.png").write_bytes(bytes(33 << 20))
    (tmp_path / "words.png").write_text("no image")
    chosen(page, tmp_path / "large.png")
    expect(page.locator("#status")).to_contain_text(
        re.compile(r"large\.png: the file has 34.* MB, more than")
    )
    chosen(page, tmp_path / "words.png")
    expect(page.locator("#status")).to_contain_text("words.png is not an image")
    given(page, "drop", "dataTransfer", None, "text")
    expect(page.locator("#status")).to_contain_text("is not a file")
    assert answer(page) == before


def test_text_is_pasted_into_fields(desk: Any) -> None:
    given(desk, "paste", "clipboardData", None, "text")
    assert "image" in parameters(desk)
    expect(desk.locator("#status")).not_to_contain_text("text")


def test_the_strip_by_arrow_keys(desk: Any) -> None:
    first = answer(desk)
    thumbnails = desk.locator(".strip img")
    assert thumbnails.evaluate_all("all => all.map((one) => one.loading)") == ["lazy", "lazy"]
    arrived(desk, ".strip")
    assert max(thumbnails.evaluate_all("all => all.map((one) => one.naturalWidth)")) == 96
    desk.get_by_role("radio", name="cat.png").focus()
    desk.keyboard.press("ArrowRight")
    expect(desk.get_by_role("radio", name="tac.png")).to_be_checked()
    expect(desk.locator("#images .current")).to_contain_text("tac.png")
    assert answer(desk) != first


def test_the_webcam(visit: Any) -> None:
    desk = visit("?layer=conv1", permissions=["camera"])  # a tab of its own, with no history
    settled(desk)
    before = parameters(desk)["image"]
    desk.evaluate(
        """() => {
          const camera = navigator.mediaDevices, open = camera.getUserMedia.bind(camera);
          camera.getUserMedia = async (asked) => {
            const stream = await open(asked);
            camera.tracks = stream.getTracks();
            return stream;
          };
        }"""
    )
    desk.get_by_role("button", name="Start the webcam").click()
    expect(desk.locator(".rate")).to_contain_text("frames a second")
    seen = {before}
    while len(seen) < 4:
        seen.add(parameters(desk)["image"])
        desk.wait_for_timeout(20)
    desk.get_by_role("button", name="Stop the webcam").click()
    expect(desk.locator(".rate")).to_be_empty()
    expect(desk.locator("#images .current")).to_contain_text("webcam")
    assert desk.evaluate("navigator.mediaDevices.tracks.map((one) => one.readyState)") == ["ended"]
    last = parameters(desk)["image"]
    settled(desk)
    desk.wait_for_timeout(300)
    assert parameters(desk)["image"] == last
    desk.go_back()  # frames are no steps of the history
    assert desk.url == "about:blank"


@pytest.mark.parametrize(
    ("error", "said"),
    [("NotAllowedError", "Allow it for this page"), ("NotFoundError", "There is no webcam")],
)
def test_without_a_webcam_it_says_so(desk: Any, error: str, said: str) -> None:
    desk.evaluate(
        "n => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', n)); }", error
    )
    desk.get_by_role("button", name="Start the webcam").click()
    expect(desk.locator("#images [role=alert]")).to_contain_text(said)
    expect(desk.get_by_role("button", name="Start the webcam")).to_be_enabled()


def shift(page: Any) -> None:
    for _ in range(8):
        page.locator(".stage canvas").press("ArrowRight")


def turn(page: Any) -> None:
    page.get_by_role("spinbutton", name="Degrees").fill("90")


def drag(page: Any, tool: str) -> None:
    page.get_by_label(tool, exact=True).check()
    box = page.locator(".stage canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    for part in (0.4, 0.5, 0.6):
        page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] * part)
    page.mouse.up()


def paint_by_keys(page: Any) -> None:
    page.get_by_label("cover", exact=True).check()
    page.locator(".stage canvas").press("ArrowDown")
    page.locator(".stage canvas").press(" ")


def crop_by_keys(page: Any) -> None:
    page.get_by_label("crop", exact=True).check()
    for key in ("ArrowLeft", "ArrowDown") * 8:
        page.locator(".stage canvas").press(key)


EDITS: dict[str, Callable[[Any], None]] = {
    "shift": shift,
    "turn": turn,
    "shift by mouse": lambda page: drag(page, "shift"),
    "cover": lambda page: drag(page, "cover"),
    "cover by keys": paint_by_keys,
    "crop": lambda page: drag(page, "crop"),
    "crop by keys": crop_by_keys,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_moves_the_answer(desk: Any, edit: Callable[[Any], None]) -> None:
    before, image = answer(desk), parameters(desk)["image"]
    desk.get_by_role("button", name="Edit", exact=True).click()
    canvas = desk.locator(".stage canvas")
    expect(canvas).to_have_attribute("aria-label", re.compile("cat.png: turned by 0"))
    unchanged = canvas.evaluate("one => one.toDataURL()")
    edit(desk)
    assert canvas.evaluate("one => one.toDataURL()") != unchanged
    expect(desk.locator("#answers .quiet").first).to_contain_text("Before: ")
    after = answer(desk)
    assert after != before
    edited = parameters(desk)["image"]
    assert edited != image
    desk.reload()  # the edited image has an address of its own
    assert [row.split()[0] for row in answer(desk)] == [row.split()[0] for row in after]
    expect(desk.locator("#images .current")).to_contain_text("cat.png, edited")
    desk.go_back()
    assert answer(desk)[0].split()[:2] == before[0].split()[:2]


def test_what_is_covered_is_grey_and_can_be_undone(desk: Any) -> None:
    image = parameters(desk)["image"]
    desk.get_by_role("button", name="Edit", exact=True).click()
    expect(desk.locator(".stage canvas")).to_have_attribute("aria-label", re.compile("turned by 0"))
    paint_by_keys(desk)
    middle = """one => {
      const copy = new OffscreenCanvas(1, 1).getContext("2d");
      copy.drawImage(one, -one.width / 2, -one.height / 2);
      return [...copy.getImageData(0, 0, 1, 1).data];
    }"""
    assert desk.locator(".stage canvas").evaluate(middle) == [128, 128, 128, 255]
    settled(desk)
    desk.get_by_role("button", name="Compare with the original").click()
    assert parameters(desk)["other"] == image
    desk.get_by_role("button", name="Undo all").click()
    settled(desk)
    assert parameters(desk)["image"] == image
    assert desk.locator(".stage canvas").evaluate(middle) != [128, 128, 128, 255]
    desk.get_by_role("button", name="Done").click()
    expect(desk.locator("#images .current")).to_be_visible()


def test_bars_say_what_changed(desk: Any) -> None:
    first = {row.split()[0]: row.split()[1] for row in answer(desk)}
    desk.get_by_role("radio", name="tac.png").check()
    expect(desk.locator("#answers thead")).to_contain_text("before")
    for row in answer(desk):
        label, now, before, *change = row.split()
        assert before == first[label]
        by = float(now) - float(before)
        assert change == ["same"] or (
            change[0] == ("▲" if by > 0 else "▼") and abs(float(change[1][1:]) - abs(by)) < 0.002
        )
    widths = desk.locator("#answers .bar span").evaluate_all(
        "all => all.map((one) => parseFloat(one.style.width))"
    )
    assert widths == sorted(widths, reverse=True)
    assert desk.locator(SAID).inner_text().split(",")[0] == answer(desk)[0].split()[0]


def test_edits_are_compared_with_the_image_that_is_edited(desk: Any) -> None:
    first = {row.split()[0]: row.split()[1] for row in answer(desk)}
    desk.get_by_role("button", name="Edit", exact=True).click()
    expect(desk.locator(".stage canvas")).to_have_attribute("aria-label", re.compile("turned by 0"))
    paint_by_keys(desk)
    settled(desk)
    once = parameters(desk)["image"]
    desk.locator(".stage canvas").press("ArrowLeft")
    desk.locator(".stage canvas").press(" ")
    desk.wait_for_url(lambda url: once not in url)
    settled(desk)
    assert {row.split()[0]: row.split()[2] for row in answer(desk)}.items() <= first.items()


def test_a_class_is_clicked(desk: Any) -> None:
    button = desk.locator("#answers").get_by_role("button", name="dog")
    button.click()
    expect(desk.locator("#attribution [role=status]")).to_contain_text("dog")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert parameters(desk)["target"] == "5"
    arrived(desk, "#attribution .heats")
    desk.get_by_role("button", name="The likeliest").click()
    expect(desk.locator("#attribution [role=status]")).to_contain_text("cat")
    assert "target" not in parameters(desk)


def test_any_target_in_its_grammar(visit: Any) -> None:
    page = visit("?layer=conv1", refusing=True)
    settled(page)
    page.get_by_label("What for").fill("conv3:16")
    page.get_by_label("What for").press("Enter")
    expect(page.locator("#attribution [role=status]")).to_contain_text("conv3 16")
    page.get_by_label("What for").fill("conv9:16")
    page.get_by_label("What for").press("Enter")
    expect(page.locator("#attribution .failed")).to_contain_text("conv9")
    assert parameters(page)["target"] == "conv9:16"


def test_all_methods_are_there_and_say_where_they_do_not_fit(desk: Any) -> None:
    from caffe_viz.attribution import METHODS

    assert desk.get_by_label("Method").first.locator("option").evaluate_all(
        "all => all.map((one) => one.value)"
    ) == list(METHODS)
    desk.get_by_label("Method").first.select_option("cam")
    expect(desk.locator("#attribution .notice")).to_contain_text("cam does not fit here: ")
    desk.get_by_label("Method").first.select_option("layer-cam")
    desk.locator("#attribution").get_by_label("Maps of").select_option("conv2")
    expect(desk.locator("#attribution .why")).to_contain_text("layer-cam, maps of conv2")
    assert {"method": "layer-cam", "reads": "conv2"}.items() <= parameters(desk).items()


def test_the_strength_of_the_map(desk: Any) -> None:
    arrived(desk, "#attribution .heats")
    heat = "() => getComputedStyle(document.querySelector('#attribution .heat')).opacity"
    desk.get_by_label("Strength of the map").fill("20")
    assert desk.evaluate(heat) == "0.2"
    desk.get_by_label("Strength of the map").press("ArrowRight")
    assert desk.evaluate(heat) == "0.21"


def test_a_method_that_takes_long(desk: Any) -> None:
    desk.get_by_label("Method").first.select_option("occlusion")
    expect(desk.locator("#attribution .moving")).to_be_visible()
    expect(desk.locator("#attribution .why")).to_contain_text("occlusion, ")
    arrived(desk, "#attribution .heats")
    expect(desk.locator("#attribution .moving")).to_be_hidden()
    desk.get_by_label("Method").first.select_option("smoothgrad")
    desk.locator("#attribution").get_by_role("button", name="Stop").click()
    desk.get_by_role("button", name="Go on").click()
    desk.locator("#status").get_by_role("button", name="Cancel").click()
    desk.get_by_role("button", name="Go on").click()
    expect(desk.locator("#attribution .why")).to_contain_text("smoothgrad, ")


def climbed(page: Any, place: str) -> None:
    """Waits until an ascent is at its end."""
    expect(page.locator(f"{place} .climbing > .quiet")).to_contain_text(" steps, ")
    expect(page.locator(f"{place} .moving")).to_be_hidden()


def picture(page: Any, place: str) -> str:
    return str(page.locator(f"{place} .climbs img").first.get_attribute("src"))


def test_an_ascent_grows_stops_and_goes_on(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16&steps=2048&pictures=2")
    settled(page)
    page.get_by_role("button", name="Show what maximises conv3:16").click()
    expect(page.locator("#ascent .climbs img")).to_have_count(2)
    first = picture(page, "#ascent")
    assert first.startswith("data:")
    expect(page.locator("#ascent .climbs img").first).not_to_have_attribute("src", first)
    expect(page.locator("#ascent progress")).to_have_attribute("max", re.compile("."))
    page.locator("#ascent").get_by_role("button", name="Stop").click()
    expect(page.locator("#ascent .moving")).to_be_hidden()
    done = float(page.locator("#ascent progress").get_attribute("value"))
    assert page.evaluate("document.activeElement.textContent") == "Go on"
    page.keyboard.press("Enter")
    expect(page.locator("#ascent .moving")).to_be_visible()
    progress = page.locator("#ascent progress[value]")
    progress.wait_for(state="attached")
    assert float(progress.get_attribute("value")) >= done  # it did not begin again
    assert page.locator("#ascent polyline").count() == 2


def test_an_ascent_by_keys_is_brought_into_view(visit: Any) -> None:
    page = visit("?layer=conv3&steps=8")
    settled(page)
    page.keyboard.press("u")
    page.keyboard.type("16")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Unit 16 of conv3").wait_for()
    settled(page)
    page.keyboard.press("m")
    climbed(page, "#ascent")
    panel, seen = page.locator("#unit").bounding_box(), page.locator("#ascent .climbs").bounding_box()
    assert panel["y"] <= seen["y"]
    assert seen["y"] + seen["height"] <= panel["y"] + panel["height"] + 1


def test_an_ascent_that_fails_can_be_tried_again(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16&steps=8", refusing=True)
    settled(page)
    page.route("**/events?*", lambda route: route.abort("connectionrefused"))
    page.get_by_role("button", name="Show what maximises conv3:16").click()
    expect(page.locator("#ascent .failed")).to_be_visible()
    page.unroute("**/events?*")
    page.locator("#ascent").get_by_role("button", name="Try again").click()
    climbed(page, "#ascent")
    expect(page.locator("#ascent .failed")).to_have_count(0)


def test_an_ascent_follows_the_unit_and_has_an_address(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16&steps=8&climbing=1")
    climbed(page, "#ascent")
    arrived(page, "#ascent .climbs")
    sixteen = picture(page, "#ascent")
    assert sixteen.startswith("/api/ascent/picture/0?")
    page.get_by_role("button", name="next").click()
    expect(page.locator("#ascent .climbs img").first).to_have_attribute(
        "src", re.compile(r"/api/.*conv3%3A17")
    )
    page.go_back()
    climbed(page, "#ascent")
    assert picture(page, "#ascent") == sixteen


def test_how_it_is_climbed(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16&steps=8&climbing=1")
    climbed(page, "#ascent")
    page.locator("#ascent").get_by_text("How", exact=True).click()
    page.locator("#ascent").get_by_label("Seed").fill("5")
    page.locator("#ascent").get_by_label("Seed").press("Enter")
    expect(page.locator("#ascent .climbs img").first).to_have_attribute("src", re.compile("/api/.*seed=5"))
    page.locator("#ascent").get_by_label("Method").select_option("plain")
    assert {"seed": "5", "climb": "plain"}.items() <= parameters(page).items()
    page.locator("#ascent").get_by_label("Steps").fill("9999")
    page.locator("#ascent").get_by_label("Steps").press("Enter")
    assert parameters(page).get("steps") != "9999"


def test_an_input_is_nothing_to_climb(visit: Any) -> None:
    page = visit("?layer=data&unit=0&climbing=1", refusing=True)
    expect(page.locator("#ascent")).to_contain_text("nothing to maximise")


def test_any_objective(visit: Any) -> None:
    page = visit("?layer=conv3&unit=16&steps=8", refusing=True)
    text = page.get_by_role("textbox", name="Maximise")
    examples = ["airplane - automobile", "conv3:16", "conv3:16 + conv3:17", "conv3"]
    expect(page.locator("#objective .examples button")).to_have_text(examples)
    page.get_by_role("button", name="airplane - automobile").click()
    climbed(page, "#objective")
    assert parameters(page)["objective"] == "airplane - automobile"
    text.fill("cat - nonsense")
    text.press("Enter")
    expect(page.locator("#objective .failed")).to_contain_text("'nonsense'")
    with page.expect_request("**/events?*"):  # the same once more
        page.locator("#objective").get_by_role("button", name="Go").click()
    expect(page.locator("#objective .failed")).to_contain_text("'nonsense'")
    text.fill("2*(conv3:16 - conv3:40)")
    text.press("Enter")
    climbed(page, "#objective")
    expect(page.locator("#objective .failed")).to_have_count(0)
    page.reload()
    climbed(page, "#objective")
    expect(text).to_have_value("2*(conv3:16 - conv3:40)")


def test_two_images(desk: Any) -> None:
    desk.get_by_role("button", name="Keep this one to compare").click()
    desk.get_by_role("radio", name="tac.png").check()
    compare = desk.locator("#compare")
    compare.scroll_into_view_if_needed()
    expect(compare).to_contain_text("First: tac.png. Second: cat.png.")
    expect(compare.locator(".tiles")).to_have_count(3)
    expect(compare).to_contain_text("Grey is no difference")
    settled(desk)
    rows = [row.split() for row in compare.locator("tbody tr").all_inner_texts()]
    assert rows
    for _, first, second, difference in rows:
        assert abs(float(first) - float(second) - float(difference)) < 2e-3
    compare.locator(".tiles").nth(2).locator("button").nth(5).click()
    assert [text.split()[2] for text in compare.locator(".readout").all_inner_texts()] == [
        "mean",
        "mean",
        "rms",
    ]
    expect(compare).to_contain_text("Unit 5 of conv1 in both")
    arrived(desk, "#compare .pair")
    assert parameters(desk)["unit"] == "5"
    desk.get_by_role("button", name="Swap").click()
    expect(compare).to_contain_text("First: cat.png. Second: tac.png.")
    desk.get_by_label("Compare with").select_option("")
    compare.scroll_into_view_if_needed()
    expect(compare).to_contain_text("network 1")


def test_two_networks(visit: Any) -> None:
    page = visit("?layer=conv1&unit=3")
    settled(page)
    compare = page.locator("#compare")
    compare.scroll_into_view_if_needed()
    expect(compare).to_contain_text("First: network 1 (caffenet_cifar10.caffemodel). Second: network 2")
    expect(compare).to_contain_text("Unit 3 of conv1 in both")
    expect(compare.locator(".tiles")).to_have_count(3)
    page.get_by_role("button", name="Keep this one to compare").click()
    compare.scroll_into_view_if_needed()
    expect(compare).to_contain_text("First: cat.png. Second: cat.png.")
    compare.get_by_role("combobox").select_option("two networks")
    expect(compare).to_contain_text("Second: network 2")
    assert parameters(page)["beside"] == "networks"


def test_the_training_through_time(desk: Any) -> None:
    training = desk.locator("#training")
    training.scroll_into_view_if_needed()
    slider = training.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuetext", "iteration 2,000")
    last = training.locator(".film figure:not([hidden]) img").get_attribute("src")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "iteration 0")
    assert training.locator(".film figure:not([hidden]) img").get_attribute("src") != last
    assert parameters(desk)["moment"] == "0"
    arrived(desk, "#training .curves")
    desk.reload()
    training.scroll_into_view_if_needed()
    expect(slider).to_have_attribute("aria-valuetext", "iteration 0")


def test_the_address_is_copied(visit: Any) -> None:
    page = visit("?layer=conv1", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the address").click()
    expect(page.locator("#status")).to_contain_text("on the clipboard")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_by_keyboard_alone(desk: Any) -> None:
    """From the strip to a class, its attribution, an edit."""
    desk.locator("#images-title").evaluate("one => one.closest('section').focus()")
    wanted = ["zoom", "save", "cat.png", "Choose an image", "Start the webcam", "Edit"]
    for name in wanted:
        desk.keyboard.press("Tab")
        focused = desk.evaluate(
            "(one => one.textContent + one.className + one.ariaLabel + one.labels?.[0]?.textContent)(document.activeElement)"
        )
        assert name in focused
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.tagName") == "CANVAS"
    expect(desk.locator(".stage canvas")).to_have_attribute("aria-label", re.compile("turned by 0"))
    for _ in range(5):
        desk.keyboard.press("ArrowUp")
    settled(desk)
    expect(desk.locator("#answers thead")).to_contain_text("before")
    desk.locator("#answers .guesses button").first.focus()
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    settled(desk)
    assert desk.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_axe_finds_no_barrier(visit: Any, scheme: str, size: dict[str, int]) -> None:
    """With everything open: an edit, changes, colours, an ascent, an objective, two networks, a training."""
    page = visit(
        "?layer=conv1&unit=3&method=gradient-x-input&climbing=1&objective=cat&steps=2&climb=plain",
        color_scheme=scheme, viewport=size,
    )  # fmt: skip
    settled(page)
    page.get_by_role("radio", name="tac.png").check()
    for name in ("#compare", "#training"):
        page.locator(name).scroll_into_view_if_needed()
    climbed(page, "#ascent")
    climbed(page, "#objective")
    page.locator("#training .film").wait_for()
    page.get_by_role("button", name="Edit", exact=True).click()
    for summary in page.get_by_text("How", exact=True).all():
        summary.click()
    settled(page)
    assert barriers(page) == ""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
