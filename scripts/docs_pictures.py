#!/usr/bin/env python3
"""The pictures of README.md and docs/, and the outputs of docs/tour.ipynb, made anew."""

from __future__ import annotations

import argparse
import io
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

import caffe_viz as cv
from caffe_viz.deploying import preprocess_near
from caffe_viz.figures import contact_sheet
from caffe_viz.files import write_whole
from caffe_viz.images import load_image, png_bytes

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NET = "prototxt/caffenet_cifar10/deploy.prototxt prototxt/caffenet_cifar10/caffenet_cifar10.caffemodel"
CAT = "--image examples/cat.png"
RECORD = "examples/caffenet_cifar10.record"
CONV3 = f"ascend {NET} --layer conv3 --filters 0:96:4"
# A picture in docs/: what makes it, and what it is then called. {layer}: one after the other of `SERIES`.
PICTURES = {
    "conv1_weights.png": (f"weights {NET} --layer conv1", "conv1_weights.png"),
    "conv1_activations.png": (f"activations {NET} {CAT} --layer conv1", "conv1_activations.png"),
    "data_gradient.png": (f"gradient {NET} {CAT} --target conv3:16", "data_gradient.png"),
    "conv3_natural_sheet.png": (CONV3, "conv3_natural_sheet.png"),
    "conv3_regularised_sheet.png": (f"{CONV3} --method regularised", "conv3_regularised_sheet.png"),
    "conv3_plain_sheet.png": (f"{CONV3} --method plain", "conv3_plain_sheet.png"),
    "fc8_natural_sheet.png": (f"ascend {NET} --layer fc8 --steps 256", "fc8_natural_sheet.png"),
    "dream_cat.png": (f"dream {NET} {CAT} --layer conv3 --size 200x300", "cat_conv3_dream_0000.png"),
    "invert_cat.png": (
        f"invert {NET} {CAT} --layer {{layer}}",
        "cat_{layer}_invert_0000.png",
    ),
    "evolution_conv1.png": (f"evolution {RECORD}", "conv1_evolution.png"),
    "evolution_curves.png": (f"evolution {RECORD}", "evolution_curves.png"),
    "report.png": (
        f"report {NET} {CAT} --record {RECORD} --budget 60",
        "caffenet_cifar10_report.html",
    ),
    "how_it_works.svg": ("data_flow", "how_it_works.svg"),
    "googlenet.svg": ("draw prototxt/googlenet/deploy.prototxt", "structure.svg"),
    "attribution_cat.png": (f"attribute {NET} {CAT} --target cat --method all", "cat_fc8_3_sheet.png"),
}
# What the live view shows at these addresses, until nothing moves any more.
VIEWS = {"serve.png": "layer=conv3&unit=31&climbing=1&pictures=3"}
SERIES = {"invert_cat.png": ("conv1", "conv3", "conv5", "fc6", "fc8")}
COLOURS = 256  # of a palette: a third of the bytes, and no eye sees it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder [default: docs]")
    parser.add_argument("names", nargs="*", help="these only, as conv1_weights.png or tour.ipynb")
    given = parser.parse_args()
    known = [*PICTURES, *VIEWS, "tour.ipynb"]
    if unknown := set(given.names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}")
    for name in given.names or known:
        if name in PICTURES:
            draw(name, given.output)
        elif name in VIEWS:
            write_whole(given.output / name, small_png(view(VIEWS[name])))
        else:
            execute(given.output)
        print(given.output / name, flush=True)
    return 0


def draw(name: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        paths = [made(name, layer, Path(out)) for layer in SERIES.get(name, ("",))]
        if name in SERIES:
            data = beside(paths, SERIES[name])
        else:
            data = screenshot(paths[0]) if paths[0].suffix == ".html" else paths[0].read_bytes()
        write_whole(folder / name, small_png(data) if name.endswith(".png") else data)


def made(name: str, layer: str, out: Path) -> Path:
    """What the command of a picture leaves, in a folder of the layer's name."""
    command, file = (text.replace("{layer}", layer) for text in PICTURES[name])
    task, *words = shlex.split(command)
    script = [sys.executable, str(ROOT / "scripts" / f"{task}.py")]
    to = ["-o", str(out / layer)]
    subprocess.run([*script, *words, *to], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return out / layer / file


def beside(paths: Sequence[Path], layers: Sequence[str]) -> bytes:
    """The cat as the shipped net sees it, and the pictures of these layers."""
    preprocess = preprocess_near(ROOT / NET.split()[0])
    tiles = [load_image(path) for path in paths]
    height, width = tiles[0].shape[:2]
    cat = preprocess.to_caffe(load_image(ROOT / CAT.split()[1]), (3, height, width))
    sheet = contact_sheet([preprocess.to_display(cat), *tiles], ["photograph", *layers], len(tiles) + 1)
    return png_bytes(sheet.rgb)


@contextmanager
def chromium(width: int, height: int) -> Iterator[Any]:
    """An empty page."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as p:
        yield p.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": width, "height": height}, reduced_motion="reduce"
        )


def screenshot(path: Path) -> bytes:
    """What a page shows of its images, in Chromium."""
    with chromium(1100, 980) as page:
        page.goto(f"{path.as_uri()}#images")
        page.wait_for_timeout(2000)  # pictures are decoded as they come into view
        return bytes(page.screenshot())


def view(query: str) -> bytes:
    """The live view of the shipped network, at an address of its own."""
    with cv.serve("caffenet_cifar10", ROOT / CAT.split()[1]) as server, chromium(1400, 1000) as page:
        page.goto(f"{server.address}&{query}")
        page.wait_for_selector("#ascent a[href*='/data']", timeout=120_000)  # at its end
        page.evaluate("import('/static/settling.js').then(({ settled }) => settled())")
        page.locator("#ascent").scroll_into_view_if_needed()
        page.wait_for_timeout(1000)  # pictures are decoded as they come into view
        return bytes(page.screenshot())


def small_png(data: bytes) -> bytes:
    """The picture with a palette, unless it is smaller as it was."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        few = image.convert("RGB").quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)
        few.save(out, "png", optimize=True)
    return min(out.getvalue(), data, key=len)


def execute(folder: Path) -> None:
    """Run the notebook in docs/, in a kernel of its own, and keep the outputs."""
    notebook = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    run_notebook(notebook, DOCS)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ each time
        for output in cell.get("outputs", []):  # a widget is gone with its kernel
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    write_whole(folder / "tour.ipynb", nbformat.writes(notebook).encode())


def run_notebook(notebook: Any, folder: Path) -> None:
    """Run all cells in `folder`, in a fresh kernel of this very Python, whatever kernels a user has."""
    own = KernelSpecManager(kernel_dirs=[])
    kernel = AsyncKernelManager(kernel_name=NATIVE_KERNEL_NAME, kernel_spec_manager=own)
    resources = {"metadata": {"path": str(folder)}}
    quiet = ["--IPKernelApp.log_level=40"]
    NotebookClient(notebook, km=kernel, timeout=300, resources=resources, extra_arguments=quiet).execute(
        cleanup_kc=True  # else the kernel of a manager that is given goes on
    )


if __name__ == "__main__":
    sys.exit(main())
