"""What people install: the wheel, used in an empty folder, with nothing of the checkout in reach."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MOST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, REPOSITORY)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed into."""
    site = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--target", site, wheel)
    return site


def pip(*words: object) -> None:
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, words), "--no-index"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(site: Path, folder: Path, *words: str) -> str:
    """What the installed `caffe-viz` prints, run in `folder`."""
    found = os.environ | {"PYTHONPATH": str(site)}
    line = [sys.executable, site / "bin" / "caffe-viz", *words]
    done = subprocess.run(line, cwd=folder, env=found, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(REPOSITORY) not in done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_networks_and_one_image_and_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    of_networks = [path for path in (REPOSITORY / "prototxt").rglob("*") if path.is_file()]
    assert {f"caffe_viz/{p.relative_to(REPOSITORY)}" for p in of_networks if "out" not in p.parts} <= set(
        names
    )
    package = REPOSITORY / "caffe_viz"
    of_pages = [*package.glob("*/static/*"), *package.glob("*/templates/*")]
    assert len(of_pages) > 10
    assert {str(p.relative_to(REPOSITORY)) for p in of_pages} <= set(names)
    assert [n for n in names if n.startswith("caffe_viz/examples/")] == ["caffe_viz/examples/cat.png"]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"caffe_viz"}
    assert not [name for name in names if name.endswith(".pyc")]
    assert wheel.stat().st_size < MOST_BYTES


def test_a_report_of_a_network(site: Path, tmp_path: Path) -> None:
    """By its name, from its prototxt alone: the file and all that pages are made of come from the wheel."""
    printed = run(site, tmp_path, "report", "caffenet")
    page = (tmp_path / printed.splitlines()[-1]).read_text(encoding="utf-8")
    assert "caffe-viz report caffenet" in page
    assert "data, 3 x 227 x 227" in page


def test_the_answer_to_the_example(site: Path, tmp_path: Path) -> None:
    """The net, its weights, labels and preprocessing, and the image: all of them from the wheel."""
    assert re.search(r"0\.772\d+ +3 +cat", run(site, tmp_path, "classify", "caffenet_cifar10", "--example"))
    assert not list(tmp_path.iterdir())


def test_the_live_view_of_the_example(site: Path, tmp_path: Path) -> None:
    """Its page and what that is made of come from the wheel too."""
    found = os.environ | {"PYTHONPATH": str(site)}
    line = [sys.executable, site / "bin" / "caffe-viz", "serve", "caffenet_cifar10", "--example", "--json"]
    with subprocess.Popen(line, cwd=tmp_path, env=found, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with httpx.Client(follow_redirects=True, timeout=60) as client:
                assert client.get(address).status_code == 200
                assert client.get(httpx.URL(address).join("/static/main.js")).status_code == 200
                assert "cat.png" in client.get(httpx.URL(address).join("/api/network")).text
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert not list(tmp_path.iterdir())
