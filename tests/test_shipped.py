"""Names of shipped networks in the place of paths."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BUILT, here, ran, refused

import caffe_viz as cv
from caffe_viz import shipped
from caffe_viz.cli.app import app
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.network import Network
from caffe_viz.published import PUBLISHED

NAME = "caffenet_cifar10"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty, and an empty working folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("working"))
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "caffe_viz"


def test_names_are_the_folders(networks: Path) -> None:
    assert shipped.names() == sorted(path.name for path in networks.iterdir() if path.is_dir())
    assert set(PUBLISHED) < set(shipped.names())


def test_a_name_stands_for_both_files(engine: str, networks: Path) -> None:
    by_name = cv.load_net(NAME, engine=engine)
    by_path = cv.load_net(
        *(networks / NAME / file for file in ("deploy.prototxt", f"{NAME}.caffemodel")), engine=engine
    )
    np.testing.assert_array_equal(by_name.params["conv1"][0].data, by_path.params["conv1"][0].data)
    assert by_name.params["conv1"][0].data.any()
    assert Network(NAME).need_weights() is None
    assert cv.read_net("squeezenet_v1.1") == cv.read_net(networks / "squeezenet_v1.1" / "deploy.prototxt")
    assert cv.check("lenet").ok


def test_weights_that_are_given_are_taken(networks: Path) -> None:
    mine = networks / NAME / f"{NAME}.caffemodel"
    assert shipped.files("lenet", mine) == (networks / "lenet" / "deploy.prototxt", mine)


def test_a_file_or_folder_of_the_name_is_meant_first(networks: Path) -> None:
    text = 'name: "mine" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 7 } } }'
    Path("lenet").write_text(text)
    assert "1 7" in here("shapes", "lenet")
    Path("vgg16").mkdir()
    assert "vgg16 is a folder" in refused("shapes", "vgg16")
    assert "10 3 224 224" in here("shapes", networks / "vgg16" / "deploy.prototxt")


@pytest.mark.parametrize(
    ("name", "near"),
    [("cafenet", "'caffenet'"), ("squeezenet_v1.2", "'squeezenet_v1.1'"), ("x", "There are: alexnet, ")],
)
def test_a_wrong_name_is_told_the_near_ones(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: no such prototxt, and no shipped network.*{near}"):
        cv.load_net(name)
    assert near in refused("shapes", name)


@pytest.mark.parametrize("path", ["caffenett.prototxt", "folder/caffenett", "caffenet.caffemodel"])
def test_a_path_is_never_a_name(path: str) -> None:
    assert shipped.files(path) == (path, None)
    assert "shipped" not in refused("shapes", path)


def test_weights_come_from_the_cache_of_download(cache: Path, networks: Path) -> None:
    for command in ("weights", "activations --example", "ascend --layer conv1"):
        said = refused(*f"{command} alexnet".split())
        assert "`caffe-viz download alexnet`" in said
        assert said.count("\n") == 1
    cache.mkdir()
    stored = cache / "bvlc_alexnet.caffemodel"
    stored.write_bytes((networks / NAME / f"{NAME}.caffemodel").read_bytes())
    assert shipped.files("alexnet")[1] == stored
    code, found, _ = ran("check", "alexnet")
    assert code == 2, "they are those of another net"
    assert "'fc6'" in found


def test_a_name_stands_for_weights_alone_too() -> None:
    assert "largest difference after the way back: 0" in here("convert", NAME, "-o", "a.npz")
    assert here("extract", NAME).endswith(".prototxt\n")
    assert "the same: all 8 layers" in here("diff", NAME, NAME, "--prototxt", NAME)
    assert "`caffe-viz download vgg16`" in refused("extract", "vgg16")
    assert "vgg16: its weights are not here" in refused("diff", NAME, "vgg16")


def test_weights_that_nobody_publishes_are_asked_for() -> None:
    said = refused("ascend", "resnet50", "--layer", "conv1")
    assert "give the file of its weights too" in said
    assert "download" not in said


def test_a_net_without_its_weights_is_loaded_with_a_warning(engine: str) -> None:
    with pytest.warns(CaffeVizWarning, match=r"lenet: no weights are here.*fillers"):
        cv.load_net("lenet", engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaffeVizWarning)
        cv.load_net(shipped.files("lenet")[0], engine=engine)


def test_the_example_is_an_image_of_every_command_that_takes_one() -> None:
    name = str(shipped.example())
    made = json.loads(here("classify", NAME, "--example", "--json"))
    assert [(one["image"], one["top"][0]["label"]) for one in made["images"]] == [(name, "cat")]
    both = json.loads(here("classify", NAME, "--image", name, "--example", "--json"))
    assert len(both["images"]) == 2
    tasks: dict[str, Any] = BUILT(app).commands
    takes = {name for name, task in tasks.items() if "image" in {param.name for param in task.params}}
    assert {name for name in takes if "--example" not in here(name, "--help")} == {"ascend"}
    assert "no option --example" in refused("ascend", NAME, "--layer", "conv1", "--example")
