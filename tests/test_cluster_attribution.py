"""Attributions and their evaluation on a cluster: the same as here, whoever makes them, whatever dies."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clusters
import numpy as np
import pytest
from clusters import same, until
from hypothesis import given
from hypothesis import strategies as st

import caffe_viz as cv
from caffe_viz.attribution import Settings
from caffe_viz.attribution.asking import Found
from caffe_viz.network import Network
from caffe_viz.views.attributed import Attributed
from caffe_viz.views.evaluated import Evaluated

pytest.importorskip("distributed", reason="dask is not installed")
IMAGES = 5
FEW = Settings(samples=3, steps=4)
SOME = ["gradient", "smoothgrad", "grad-cam"]
SHORT: dict[str, Any] = {"methods": SOME, "points": 4, "settings": FEW}

# --- joining ------------------------------------------------------------------------


@given(st.lists(st.sets(st.integers(0, 40), min_size=1), min_size=1, max_size=6), st.randoms())
def test_what_is_found_in_any_order_is_one(some: list[set[int]], rng: random.Random) -> None:
    """Two by two, any with any; what is in two of them would count twice."""
    own = [one.difference(*some[:n]) for n, one in enumerate(some)]
    parts = [Found({n: n**2 for n in one}) for one in own]
    while len(parts) > 1:
        one, other = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(one.take(other))
    assert parts[0] == {n: n**2 for one in some for n in one}
    with pytest.raises(ValueError, match="is in both"):
        parts[0].take(Found({min(some[0]): 0}))


# --- the real thing -----------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy net, and photos/ of noise; in here/ parcels of this process, in there/ of workers."""
    made = tmp_path_factory.mktemp("cluster")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(made / "here"))
        yield made


@pytest.fixture(scope="module")
def grown(folder: Path) -> Iterator[Callable[[int], Any]]:
    with clusters.started(folder / "there") as of:
        yield of


@pytest.fixture
def net(folder: Path, engine: str) -> Network:
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine=engine)


def same_attributed(found: Attributed, expected: Attributed) -> None:
    assert found.refused == expected.refused
    assert [a.method for a in found.attributions] == [a.method for a in expected.attributions]
    for one, other in zip(found.attributions, expected.attributions, strict=True):
        same(one, other)


def same_evaluated(found: Evaluated, expected: Evaluated) -> None:
    assert found.refused == expected.refused
    same(found.curves, expected.curves)
    same(found.sanity, expected.sanity)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_with_any_number_of_workers(
    grown: Callable[[int], Any], workers: int, net: Network, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All methods, cam of which does not fit; the likeliest class, of images some of which are arrays."""
    monkeypatch.setattr("caffe_viz.attribution.asking.LOOKED", 2)
    client = grown(workers)
    images = [folder / "photos", np.random.default_rng(1).random((20, 30, 3))]
    found, expected = (
        cv.show_attribution(net, images, None, "all", settings=FEW, cluster=who) for who in (client, None)
    )
    assert len({*expected.attributions[0].targets}) > 1
    assert [method for method, _ in expected.refused] == ["cam"]
    same_attributed(found, expected)
    found, expected = (
        cv.show_evaluation(net, folder / "photos", [1, 4], count=3, **SHORT, cluster=who)
        for who in (client, None)
    )
    assert expected.curves is not None
    assert len(expected.curves.names) == 6
    same_evaluated(found, expected)


def test_an_image_is_explained_as_if_it_were_alone(net: Network, folder: Path) -> None:
    photos = [folder / "photos" / f"{n}.png" for n in range(2)]
    both = cv.show_attribution(net, photos, [0, "conv2:3"], "all", settings=FEW)
    for n, photo in enumerate(photos):
        alone = cv.show_attribution(net, photo, [0, "conv2:3"], "all", settings=FEW)
        for one, some in zip(alone.attributions, both.attributions, strict=True):
            np.testing.assert_array_equal(one.values, some.values[2 * n : 2 * n + 2])
            np.testing.assert_array_equal(one.scores, some.scores[2 * n : 2 * n + 2])


def test_the_weights_are_those_that_the_net_has(
    grown: Callable[[int], Any], engine: str, folder: Path
) -> None:
    """Of a net in use, which were changed after it was loaded."""
    net = cv.load_net(folder / "deploy.prototxt", folder / "net.caffemodel", engine=engine)
    before = cv.show_attribution(net, folder / "photos", 1, "gradient")
    net.params["conv1"][0].data[...] *= -2
    found, expected = (
        cv.show_attribution(net, folder / "photos", 1, "gradient", cluster=who) for who in (grown(2), None)
    )
    assert (expected.attributions[0].values != before.attributions[0].values).any()
    same_attributed(found, expected)


def test_a_killed_worker_costs_its_piece_only(grown: Callable[[int], Any], folder: Path) -> None:
    net = Network(folder / "deploy.prototxt", folder / "net.caffemodel")
    client, notes = grown(2), list[str]()

    def kill_first(done: int, total: int) -> None:
        if not notes and not killed:
            killed.append(next(iter(client.run(os.getpid, on_error="ignore").values())))
            os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    given = (net, folder / "photos", 1, "smoothgrad")
    slow = Settings(samples=2000)
    found = cv.show_attribution(*given, settings=slow, cluster=client, on_progress=kill_first)
    same_attributed(found, cv.show_attribution(*given, settings=slow))
    killed.clear()
    found = cv.show_evaluation(
        net, folder / "photos", **SHORT, cluster=client, on_progress=kill_first, on_note=notes.append
    )
    assert killed
    same_evaluated(found, cv.show_evaluation(net, folder / "photos", **SHORT))


def test_ctrl_c_keeps_the_cases_that_are_finished(
    grown: Callable[[int], Any], net: Network, folder: Path
) -> None:
    """Whichever these are: their names, targets and curves are their own."""
    client = grown(2)
    whole = cv.show_evaluation(net, folder / "photos", checks=["curves"], **SHORT).curves
    assert whole is not None

    def enough(done: int, total: int) -> None:
        if done > 0.15 * total:
            raise KeyboardInterrupt

    found = cv.show_evaluation(net, folder / "photos", **SHORT, cluster=client, on_progress=enough)
    assert found.interrupted
    assert found.sanity is None
    kept = found.curves
    assert kept is not None
    assert 0 < len(kept.names) < kept.asked == IMAGES
    rows = list(kept.numbers)
    assert kept.names == tuple(whole.names[n] for n in rows)
    assert kept.targets == tuple(whole.targets[n] for n in rows)
    np.testing.assert_array_equal(kept.deletion, whole.deletion[:, rows])
    np.testing.assert_array_equal(kept.insertion, whole.insertion[:, rows])
    until(lambda: not any(client.processing().values()))  # nothing is left behind
