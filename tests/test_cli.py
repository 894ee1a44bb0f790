"""The commands as a user runs them: in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from caffe_viz.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_shapes_equal_the_net(networks: Path) -> None:
    done = run("shapes", networks / "caffenet_cifar10" / "deploy.prototxt", "--batch", 50, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    blobs = {row["blob"]: row["shape"] for row in made["blobs"]}
    assert list(blobs) == [
        "data",
        "conv1",
        "pool1",
        "norm1",
        "conv2",
        "pool2",
        "norm2",
        "conv3",
        "conv4",
        "conv5",
        "pool5",
        "fc6",
        "fc7",
        "fc8",
        "prob",
    ]
    assert blobs["conv1"] == "50 48 32 32"
    assert blobs["pool5"] == "50 64 4 4"
    params = {row["parameter"]: (row["weights"], row["bias"]) for row in made["parameters"]}
    assert params["conv2"] == ("64 24 5 5", "64")
    assert params["fc6"] == ("256 1024", "256")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shapes", "nowhere.prototxt"), "nowhere.prototxt: no such prototxt"),
        (("shapes", "{net}", "--size", "32"), "--size '32'"),
        (("shapes", "{weights}"), "no prototxt"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    networks: Path, arguments: tuple[str, ...], words: str
) -> None:
    folder = networks / "caffenet_cifar10"
    names = {"net": folder / "deploy.prototxt", "weights": folder / "caffenet_cifar10.caffemodel"}
    done = run(*(a.format(**names) for a in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_check_accepts_the_shipped_network_and_refuses_swapped_files(networks: Path) -> None:
    folder = networks / "caffenet_cifar10"
    net, weights = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    assert run("check", net, weights).stdout.endswith("0 errors, 0 warnings\n")
    assert run("check", net, net).returncode == 2


CAFFENET_BLOBS = """
data 50 3 227 227, conv1 50 96 55 55, pool1 50 96 27 27, norm1 50 96 27 27, conv2 50 256 27 27,
pool2 50 256 13 13, norm2 50 256 13 13, conv3 50 384 13 13, conv4 50 384 13 13, conv5 50 256 13 13,
pool5 50 256 6 6, fc6 50 4096, fc7 50 4096, fc8 50 1000, prob 50 1000
"""
CAFFENET_WEIGHTS = """
conv1 96 3 11 11, conv2 256 48 5 5, conv3 384 256 3 3, conv4 384 192 3 3, conv5 256 192 3 3,
fc6 4096 9216, fc7 4096 4096, fc8 1000 4096
"""


def test_caffenet_tables_are_the_published_ones(networks: Path) -> None:
    """The two tables of the pycaffe tutorial at a batch of 50, and the published totals."""
    done = run("shapes", networks / "caffenet" / "deploy.prototxt", "--batch", 50, "--json")
    made = json.loads(done.stdout)
    expected = dict(row.split(maxsplit=1) for row in CAFFENET_BLOBS.split(","))
    assert {row["blob"]: row["shape"] for row in made["blobs"]} == {k: v.strip() for k, v in expected.items()}
    expected = dict(row.split(maxsplit=1) for row in CAFFENET_WEIGHTS.split(","))
    weights = {row["parameter"]: row["weights"] for row in made["parameters"]}
    assert weights == {k: v.strip() for k, v in expected.items()}
    assert all(row["bias"] == row["weights"].split()[0] for row in made["parameters"])
    totals = {row["total"]: row["value"] for row in made["totals"]}
    assert totals["parameters"] == 60_965_224
    assert totals["multiply-adds"] == 724_406_816
