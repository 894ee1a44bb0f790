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
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

from caffe_viz.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NET = "prototxt/caffenet_cifar10/deploy.prototxt prototxt/caffenet_cifar10/caffenet_cifar10.caffemodel"
CAT = "--image examples/cat.png"
RECORD = "examples/caffenet_cifar10.record"
# A picture in docs/: what makes it, and what it is then called.
PICTURES = {
    "conv1_weights.png": (f"weights {NET} --layer conv1", "conv1_weights.png"),
    "conv1_activations.png": (f"activations {NET} {CAT} --layer conv1", "conv1_activations.png"),
    "data_gradient.png": (f"gradient {NET} {CAT} --layer conv3 --index 16", "data_gradient.png"),
    "conv3_plain_sheet.png": (f"ascend {NET} --layer conv3 --filters 0:96:8", "conv3_plain_sheet.png"),
    "conv3_regularised_sheet.png": (
        f"ascend {NET} --layer conv3 --filters 0:96:4 --method regularised",
        "conv3_regularised_sheet.png",
    ),
    "fc8_regularised_sheet.png": (
        f"ascend {NET} --layer fc8 --method regularised --steps 80",
        "fc8_regularised_sheet.png",
    ),
    "evolution_conv1.png": (f"evolution {RECORD}", "conv1_evolution.png"),
    "evolution_curves.png": (f"evolution {RECORD}", "evolution_curves.png"),
    "report.png": (
        f"report {NET} {CAT} --record {RECORD} --budget 60",
        "caffenet_cifar10_report.html",
    ),
    "googlenet.svg": ("draw prototxt/googlenet/deploy.prototxt", "structure.svg"),
    "attribution_cat.png": (f"attribute {NET} {CAT} --target cat --method all", "cat_fc8_3_sheet.png"),
}
COLOURS = 256  # of a palette: a third of the bytes, and no eye sees it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder [default: docs]")
    parser.add_argument("names", nargs="*", help="these only, as conv1_weights.png or tour.ipynb")
    given = parser.parse_args()
    known = [*PICTURES, "tour.ipynb"]
    if unknown := set(given.names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}")
    for name in given.names or known:
        if name in PICTURES:
            draw(name, given.output)
        else:
            execute(given.output)
        print(given.output / name, flush=True)
    return 0


def draw(name: str, folder: Path) -> None:
    command, made = PICTURES[name]
    with tempfile.TemporaryDirectory() as out:
        task, *words = shlex.split(command)
        script = [sys.executable, str(ROOT / "scripts" / f"{task}.py")]
        subprocess.run([*script, *words, "-o", out], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        path = Path(out) / made
        data = screenshot(path) if path.suffix == ".html" else path.read_bytes()
        write_whole(folder / name, small_png(data) if name.endswith(".png") else data)


def screenshot(path: Path) -> bytes:
    """What a page shows of its images, in Chromium."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as p:
        page = p.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": 1100, "height": 980}, reduced_motion="reduce"
        )
        page.goto(f"{path.as_uri()}#images")
        page.wait_for_timeout(2000)  # pictures are decoded as they come into view
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
    NotebookClient(notebook, km=kernel, timeout=300, resources=resources, extra_arguments=quiet).execute()


if __name__ == "__main__":
    sys.exit(main())
