#!/usr/bin/env python3
"""How quick the live view is, from a click to the picture on the screen, in headless Chromium.

    python benchmarks/app.py DEPLOY.prototxt NET.caffemodel --image PHOTO [--image ..] [--layer conv5]

Medians over a few rounds, in milliseconds: an image dropped until its answer and all maps of a layer are on
the screen, another layer of the same image, a unit's panel. Then pictures a second of an ascent, frames a
second of a webcam (Chromium's test pattern), and 200 requests from 8 clients: how many were lost, and the
memory of the server's processes before and after. Every round has an image of its own, which the server's
cache does not know.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from caffe_viz.deploying import preprocess_near
from caffe_viz.network import Network

REQUESTS, CLIENTS = 200, 8
# In the page: DO something, then wait until all that it asks for is there and painted; milliseconds.
TIMED = """async (given) => {
  const { settled } = await import("/static/settling.js");
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await settled();
  await painted();
  const begun = performance.now();
  await (async () => { DO })();
  UNTIL
  await painted();
  return performance.now() - begun;
}"""
SEEN = """do await painted(); while (document.querySelector(
    "#answers [aria-busy='true'], #maps [aria-busy='true']"));"""  # whatever else comes later
ALL = "await settled();"
DROP = """
  const bytes = Uint8Array.from(atob(given), (c) => c.charCodeAt(0)), moved = new DataTransfer();
  moved.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
  const event = new DragEvent("drop", { dataTransfer: moved, bubbles: true, cancelable: true });
  const before = location.search;
  document.body.dispatchEvent(event);
  while (location.search === before) await painted();
"""
GO = 'return import("/static/state.js").then(({ go }) => go(given));'
COUNT = """async ([selector, seconds]) => {
  const seen = new Set(), end = performance.now() + 1000 * seconds;
  const times = [];
  while (performance.now() < end) {
    for (const image of document.querySelectorAll(selector)) {
      const key = image.src.length + image.src.slice(-200);
      if (!seen.has(key)) { seen.add(key); times.push(performance.now()); }
    }
    await new Promise((done) => setTimeout(done, 10));
  }
  return times;
}"""


def dropped(photo: Path, number: int) -> str:
    """A photograph that nobody has seen, as base64 of a JPEG: shifted by some pixels."""
    with Image.open(photo) as image:
        pixels = np.roll(np.asarray(image.convert("RGB")), 7 * (number + 1), axis=(0, 1))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92)
    return base64.b64encode(stream.getvalue()).decode()


def spread(times: Sequence[float]) -> str:
    return f"{statistics.median(times):6.0f} ms (of {len(times)}: {min(times):.0f} to {max(times):.0f})"


def a_second(times: Sequence[float]) -> float:
    """Events a second between the first and the last of `times` (ms)."""
    return 0.0 if len(times) < 2 else 1000 * (len(times) - 1) / (times[-1] - times[0])


@contextmanager
def served(given: Any) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and the number of that."""
    images = [word for image in given.image for word in ("--image", str(image))]
    command = ["serve", str(given.prototxt), str(given.weights), *images, "--engine", given.engine, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "caffe_viz.cli", *command], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"], process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def resident(pid: int) -> float:
    """MB of a process and all below it."""
    rows = subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    table = [tuple(map(int, row.split())) for row in rows.splitlines()]
    ours = {pid}
    while more := {pid for pid, parent, _ in table if parent in ours} - ours:
        ours |= more
    return sum(rss for pid, _, rss in table if pid in ours) / 1000


def burst(address: str, layers: Sequence[str], pid: int) -> tuple[int, float, float]:
    """Requests that failed, seconds, and MB more than before; clients ask for maps of images and layers."""
    parts = urlsplit(address)
    base = f"{parts.scheme}://{parts.netloc}"
    with httpx.Client(base_url=base, follow_redirects=True) as first:
        first.get(address)
        cookies = dict(first.cookies)
        ids = [one["id"] for one in first.get("/api/network").json()["images"]]

    def one(number: int) -> bool:
        with httpx.Client(base_url=base, cookies=cookies, timeout=300) as client:
            asked = {"image": ids[number % len(ids)], "layer": layers[number % len(layers)]}
            return client.get("/api/maps", params=asked).status_code != 200

    before, begun = resident(pid), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        lost = sum(clients.map(one, range(REQUESTS)))
    return lost, time.monotonic() - begun, resident(pid) - before


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--image", type=Path, action="append", required=True)
    parser.add_argument("--layer", action="append", help="those that are opened, the first with the image")
    parser.add_argument("--unit", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    network = Network(given.prototxt, given.weights, preprocess_near(given.prototxt), given.engine)
    layers = given.layer or [
        x.name for x in network.geometry.layers if x.type == "Convolution" and len(x.shapes[0]) == 4
    ]
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with served(given) as (address, pid), sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream",
                  "--use-fake-ui-for-media-stream"],
        )  # fmt: skip
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.wait_for_selector("#layers a", state="attached")

        def timed(code: str, value: Any, until: str = ALL) -> float:
            return float(page.evaluate(TIMED.replace("DO", code).replace("UNTIL", until), value))

        timed(GO, {"layer": layers[0]})
        timed(DROP, dropped(given.image[0], 100))  # once, so that everything is loaded
        measure(given, layers, timed)
        ascent(page, given, layers[-1])
        webcam(page)
        browser.close()
        for turn in (1, 2, 3):
            lost, seconds, more = burst(address, layers, pid)
            print(f"{REQUESTS} requests from {CLIENTS} clients, round {turn}: {lost} lost, {seconds:.1f} s, "
                  f"{more:+.0f} MB")  # fmt: skip


def measure(given: Any, layers: Sequence[str], timed: Callable[..., float]) -> None:
    """The clicks."""
    drops, others, units = [], [], []
    for number in range(given.rounds):
        drops.append(timed(DROP, dropped(given.image[number % len(given.image)], number), SEEN))
        others += [timed(GO, {"layer": layer}, SEEN) for layer in layers[1:4]]
        timed(GO, {"layer": layers[0]})
        units.append(timed(GO, {"unit": given.unit + number % 8}))
        timed(GO, {"unit": ""})
    print(f"image dropped, answer and all maps of {layers[0]} on the screen: {spread(drops)}")
    print(f"another layer of the same image:                      {spread(others)}")
    print(f"the panel of a unit:                                  {spread(units)}")


def ascent(page: Any, given: Any, layer: str) -> None:
    """Pictures a second, from the first on."""
    page.evaluate(f"({GO_AND_SETTLE})", {"layer": layer, "unit": given.unit, "steps": "512"})
    page.locator("#ascent").get_by_role("button", name="Show what maximises").click()
    times = page.evaluate(COUNT, ["#ascent img", 12])
    print(f"an ascent shows {a_second(times):.1f} pictures a second ({len(times)} in 12 s)")
    page.evaluate(f"({GO_AND_SETTLE})", {"unit": "", "climbing": ""})


GO_AND_SETTLE = """async (given) => {
  const { go } = await import("/static/state.js"), { settled } = await import("/static/settling.js");
  go(given);
  await settled();
}"""


def webcam(page: Any) -> None:
    """Frames a second that went through the net, with the maps of a layer on the screen."""
    page.evaluate(f"({GO_AND_SETTLE})", {"unit": ""})
    page.get_by_role("button", name="Start the webcam").click()
    page.locator(".rate", has_text="frames a second").wait_for()
    page.wait_for_timeout(8000)
    print(f"webcam: {page.locator('.rate').inner_text()}")
    page.get_by_role("button", name="Stop the webcam").click()


if __name__ == "__main__":
    main()
