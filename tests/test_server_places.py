"""Places in photographs, as the live view looks for them: those of `top`, found once for a layer, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Asking

import caffe_viz as cv
from caffe_viz.errors import InputError
from caffe_viz.images import save_png
from caffe_viz.network import Network
from caffe_viz.server.handlers.layer_search import LayerSearch
from caffe_viz.top import Top


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for n in range(70):
        rgb = np.random.default_rng(n).random((8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)
        save_png(folder / f"class{n % 2}" / f"{n}.png", rgb)
    return folder


@pytest.fixture(scope="module")
def network(engine: str) -> Network:
    return replace(Network.of("caffenet_cifar10"), engine=engine)


@pytest.fixture(scope="module")
def top(network: Network, photos: Path) -> Top:
    return cv.top_images(network, photos, "conv2").top


def same_places(found: Any, top: Any, unit: int) -> None:
    places = list(top.places(unit))
    assert [place["unit"] for place in found.facts["places"]] == [list(place.unit) for place in places]
    assert [place["box"] for place in found.facts["places"]] == [list(place.box) for place in places]
    names = ["/".join(Path(place.image).parts[-2:]) for place in places]
    assert [place["image"] for place in found.facts["places"]] == names
    np.testing.assert_array_equal(found.arrays["values"], top.values[top.filters.index(unit)])


def test_places_are_those_of_top_images(network: Network, photos: Path, top: Top, tmp_path: Path) -> None:
    asking = Asking.of(network, photos=(photos,), folder=tmp_path)
    for unit in (3, 40):
        found = asking("places", layer="conv2", unit=unit)
        same_places(found, top, unit)
        assert (found.facts["seen"], found.facts["dead"], found.facts["state"]) == (70, False, top.state)
        np.testing.assert_array_equal(found.arrays["crops"], top.crops[top.filters.index(unit)])
        assert len(found.figures) == 9


def test_a_search_is_kept_for_the_next_server(network: Network, photos: Path, tmp_path: Path) -> None:
    asking = Asking.of(network, photos=(photos,), folder=tmp_path)
    first = list(asking.steps("places", layer="conv2", unit=3))
    assert len(first) > 2
    assert [step.done for step in first] == sorted({step.done for step in first})
    again = list(Asking.of(network, photos=(photos,), folder=tmp_path).steps("places", layer="conv2", unit=3))
    assert len(again) == 1
    assert first[-1].answer is not None
    assert again[0].answer is not None
    assert again[0].answer.facts == first[-1].answer.facts
    assert len(list(tmp_path.iterdir())) == 1


def test_a_search_that_is_left_goes_on_and_other_units_go_on_with_it(
    network: Network, photos: Path, top: Top, tmp_path: Path
) -> None:
    asking = Asking.of(network, photos=(photos,), folder=tmp_path)
    first = asking.steps("places", layer="conv2", unit=3)
    assert next(first).done == 32
    second = asking.steps("places", layer="conv2", unit=40)
    assert next(second).done == 64
    second.close()  # dropped for good, which is not the end of the search
    found = list(first)[-1].answer
    same_places(found, top, 3)
    same_places(asking("places", layer="conv2", unit=40), top, 40)


def test_what_was_found_before_a_server_ended_is_not_looked_for_again(
    network: Network, photos: Path, top: Top, tmp_path: Path
) -> None:
    half = Asking.of(network, photos=(photos,), folder=tmp_path).steps("places", layer="conv2", unit=3)
    next(half)
    half.close()
    *_, last = steps = list(
        Asking.of(network, photos=(photos,), folder=tmp_path).steps("places", layer="conv2", unit=3)
    )
    assert steps[0].done == 64
    same_places(last.answer, top, 3)


def test_a_search_that_failed_begins_again_where_it_was(
    network: Network, photos: Path, top: Top, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = Asking.of(network, photos=(photos,), folder=tmp_path)
    under_way = asking.steps("places", layer="conv2", unit=3)
    next(under_way)
    with monkeypatch.context() as patch:
        patch.setattr("caffe_viz.streaming.Runner.__call__", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(under_way)
    same_places(asking("places", layer="conv2", unit=3), top, 3)


def test_other_searches_have_other_files(network: Network, photos: Path, tmp_path: Path) -> None:
    for layer, folder in (("conv2", photos), ("conv1", photos), ("conv2", photos / "class0")):
        Asking.of(network, photos=(folder,), folder=tmp_path)("places", layer=layer, unit=0)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("layer", "unit", "words"),
    [("conv9", 0, "no layer 'conv9'"), ("conv1:3", 0, "no layer"), ("conv1", 48, "units 0 to 47, not 48")],
)
def test_what_cannot_be_searched_is_said(
    network: Network, photos: Path, tmp_path: Path, layer: str, unit: int, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Asking.of(network, photos=(photos,), folder=tmp_path)("places", layer=layer, unit=unit)


def test_a_dead_unit_has_no_places(network: Network, photos: Path, tmp_path: Path) -> None:
    asking = Asking.of(network, photos=(photos,), folder=tmp_path)
    searching = asking.resources.searching(0, "conv2")
    assert isinstance(searching, LayerSearch)
    list(searching)
    top_k = searching.search.top_k
    top_k.values[:, 3] = 0  # behind a ReLU
    found = asking("places", layer="conv2", unit=3)
    assert (found.facts["dead"], found.facts["places"], found.figures) == (True, [], ())
