"""Attributions and their evaluation on a cluster: the same as here, whoever makes them, whatever dies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import clusters
import numpy as np
import pytest
from asking_work import Mortal, broken
from clusters import same, until
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import caffe_viz as cv
from caffe_viz.attribution import Settings
from caffe_viz.attribution.explaining import Explain
from caffe_viz.attribution.queries import NamedImage, NetQueries, QueryResults, collected
from caffe_viz.cli.app import app
from caffe_viz.errors import InputError
from caffe_viz.evaluation import Sanity, cases, curves, sanity
from caffe_viz.evaluation.trials import Trial
from caffe_viz.network import Network
from caffe_viz.tasks import InProcess, stop
from caffe_viz.views.attributed import Attributed
from caffe_viz.views.evaluated import Evaluated

pytest.importorskip("distributed", reason="dask is not installed")
IMAGES = 5
FEW = Settings(samples=3, steps=4, patch=6, stride=6)

# --- joining ------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 40), min_size=1), min_size=1, max_size=6), st.randoms())
def test_what_is_found_in_any_order_is_one(some: list[set[int]], rng: random.Random) -> None:
    """Two by two, any with any; what is in two of them would count twice."""
    own = [one.difference(*some[:n]) for n, one in enumerate(some)]
    parts = [QueryResults({n: n**2 for n in one}) for one in own]
    while len(parts) > 1:
        one, other = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(one.take(other))
    assert parts[0] == {n: n**2 for one in some for n in one}
    with pytest.raises(ValueError, match="is in both"):
        parts[0].take(QueryResults({min(some[0]): 0}))


# --- the real thing -----------------------------------------------------------------


grown = clusters.grown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy net, and photos/ of noise; in here/ parcels of this process, in there/ of workers."""
    made = tmp_path_factory.mktemp("cluster")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    with clusters.parcels_apart(made):
        yield made


@pytest.fixture(scope="module")
def net(folder: Path, engine: str) -> Network:
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine=engine)


def attributed(net: Network, folder: Path, cluster: Any = None) -> Attributed:
    """All methods, of which cam does not fit; the likeliest class, of images one of which is an array."""
    images = [folder / "photos", np.random.default_rng(1).random((20, 30, 3))]
    return cv.show_attribution(net, images, None, "all", settings=FEW, cluster=cluster)


def evaluated(net: Network, folder: Path, cluster: Any = None, **more: Any) -> Evaluated:
    """Two images with two targets each."""
    given: dict[str, Any] = {"count": 2, "points": 4, "settings": FEW, "cluster": cluster, **more}
    return cv.show_evaluation(net, folder / "photos", [1, 4], ["smoothgrad", "grad-cam"], **given)


@pytest.fixture(scope="module")
def here(net: Network, folder: Path) -> tuple[Attributed, Evaluated]:
    """What this process makes."""
    return attributed(net, folder), evaluated(net, folder)


def same_attributed(found: Attributed, expected: Attributed) -> None:
    assert found.refused == expected.refused
    assert [a.method for a in found.attributions] == [a.method for a in expected.attributions]
    for one, other in zip(found.attributions, expected.attributions, strict=True):
        same(one, other)


def same_evaluated(found: Evaluated, expected: Evaluated) -> None:
    assert found.refused == expected.refused
    same(found.curves, expected.curves)
    same(found.sanity, expected.sanity)


def test_the_same_with_two_workers(
    grown: Callable[[int], Any], net: Network, folder: Path, here: Any
) -> None:
    assert len({*here[0].attributions[0].targets}) > 1
    assert [method for method, _ in here[0].refused] == ["cam"]
    assert here[1].curves.numbers == (0, 1, 2, 3)
    same_attributed(attributed(net, folder, grown(2)), here[0])
    same_evaluated(evaluated(net, folder, grown(2)), here[1])


@pytest.mark.parametrize("engine", ["caffe"], indirect=True)
def test_an_image_is_explained_as_if_it_were_alone(net: Network, folder: Path, here: Any) -> None:
    expected = {a.method: a for a in here[0].attributions}
    for n in (0, 3):
        alone = cv.show_attribution(net, folder / "photos" / f"{n}.png", None, "all", settings=FEW)
        for one in alone.attributions:
            np.testing.assert_array_equal(one.values[0], expected[one.method].values[n])
            assert one.scores[0] == expected[one.method].scores[n]


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


@pytest.mark.parametrize("engine", ["torch"], indirect=True)
def test_ctrl_c_keeps_the_cases_that_are_finished(
    grown: Callable[[int], Any], net: Network, folder: Path, here: Any
) -> None:
    """Whichever these are: their names, targets and curves are their own."""
    client, whole = grown(2), here[1].curves

    def enough(done: int, total: int) -> None:
        if done > 0.1 * total:  # the first of four, for one of two checks
            raise KeyboardInterrupt

    found = evaluated(net, folder, client, on_progress=enough)
    assert found.interrupted
    assert found.sanity is None
    kept = found.curves
    assert kept is not None
    assert 0 < len(kept.names) < kept.asked == 4
    rows = list(kept.numbers)
    assert kept.names == tuple(whole.names[n] for n in rows)
    assert kept.targets == tuple(whole.targets[n] for n in rows)
    np.testing.assert_array_equal(kept.deletion, whole.deletion[:, rows])
    np.testing.assert_array_equal(kept.insertion, whole.insertion[:, rows])
    until(lambda: not any(client.processing().values()))  # nothing is left behind


class Backwards(InProcess[Any, Any]):
    """A run that begins with the last piece."""

    def run(self, pieces: Iterable[Any]) -> Iterator[Any]:
        return super().run([*pieces][::-1])


@pytest.mark.parametrize(("engine", "check"), [("caffe", "curves"), ("torch", "sanity")], indirect=["engine"])
def test_cases_that_end_in_another_order_keep_their_names(
    net: Network, folder: Path, here: Any, check: str
) -> None:
    whole = getattr(here[1], check)
    images = [NamedImage(f"{n}", np.asarray(Image.open(folder / "photos" / f"{n}.png"))) for n in (0, 2)]
    asking = NetQueries(net)

    def enough(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    c = cases(asking, images, [1, 4], ["smoothgrad", "grad-cam"], settings=FEW)
    make: Any = {"curves": partial(curves, points=4), "sanity": sanity}[check]
    some = make(c, run=Backwards(asking), on_progress=enough)
    name, axis = {"curves": ("deletion", 1), "sanity": ("correlation", 2)}[check]
    assert some.interrupted
    rows = list(some.numbers)
    assert rows == [2, 3]
    assert (some.names, some.targets) == (("2", "2"), whole.targets[2:])
    np.testing.assert_array_equal(getattr(some, name), getattr(whole, name).take(rows, axis))


@pytest.mark.parametrize("engine", ["torch"], indirect=True)
def test_cases_that_are_kept_go_with_all_of_them(here: Any, tmp_path: Path) -> None:
    """Some of the curves, whichever, are of the same images as the whole check; other names are not."""
    whole, rows = here[1].curves, [1, 3]
    some = replace(
        whole, names=tuple(whole.names[n] for n in rows), targets=tuple(whole.targets[n] for n in rows),
        deletion=whole.deletion[:, rows], insertion=whole.insertion[:, rows], numbers=tuple(rows),
    )  # fmt: skip
    here[1].sanity.save(tmp_path / "sanity.npz")
    some.save(tmp_path / "curves.npz")
    found = Evaluated.load(tmp_path).curves
    assert found is not None
    assert (found.numbers, found.interrupted) == ((1, 3), True)
    replace(some, numbers=(0, 3)).save(tmp_path / "curves.npz")
    with pytest.raises(InputError, match="of different images"):
        Evaluated.load(tmp_path)
    with np.load(tmp_path / "sanity.npz") as saved:
        np.savez(tmp_path / "curves.npz", **{name: saved[name] for name in saved if name != "numbers"})
    assert Sanity.load(tmp_path / "curves.npz").numbers == ()  # of an earlier version


@pytest.mark.parametrize("engine", ["torch"], indirect=True)
def test_the_same_with_one_worker(
    grown: Callable[[int], Any], net: Network, folder: Path, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at two images at a time."""
    monkeypatch.setattr("caffe_viz.attribution.queries.LOOKED", 2)
    same_attributed(attributed(net, folder, grown(1)), here[0])


@pytest.mark.parametrize(
    ("engine", "there"), [("caffe", False), ("torch", False), ("torch", True)], indirect=["engine"]
)
def test_random_weights_are_gone_whatever_happens(
    grown: Callable[[int], Any], there: bool, net: Network
) -> None:
    """Of a trial that fails; and of one that is asked to stop, which finds nothing."""
    asking, pixels = NetQueries(net, ("fc",)), np.random.default_rng(0).normal(size=(3, 12, 12))
    image = NamedImage("a", pixels.astype(np.float32))
    client = grown(1) if there else None
    trial = Trial(0, image, 1, (), None, FEW, broken, 0)

    def explained() -> Any:
        with asking.run(client) as run:
            return collected(run, [Explain(0, image, (1,), ("gradient",), None, FEW, False)], 1, print, print)

    before = explained()[0, "gradient"]
    with pytest.raises(InputError, match=r"^this fails\.$"), asking.run(client) as run:
        list(run.run([trial]))
    same(explained()[0, "gradient"], before)
    if not there:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stop, "asked", True)
            assert list(trial.answers(asking.probe)) == []
        same(explained()[0, "gradient"], before)


def test_a_killed_worker_costs_its_piece_only(
    grown: Callable[[int], Any], folder: Path, tmp_path: Path
) -> None:
    """It is told who died of what, and all is as it would be."""
    asking, notes = NetQueries(Network(folder / "deploy.prototxt", folder / "net.caffemodel")), list[str]()
    rng = np.random.default_rng(0)
    images = [NamedImage(f"image {n}", rng.random((3, 12, 12), np.float32)) for n in range(4)]
    pieces: list[Any] = [
        Explain(n, one, (1,), ("smoothgrad",), None, FEW, False) for n, one in enumerate(images)
    ]
    with asking.run() as run:
        expected = collected(run, pieces, 4, print, print)
    pieces[2] = Mortal(pieces[2], tmp_path / "begun")
    shares: list[float] = []
    with asking.run(grown(2)) as run:
        found = collected(run, pieces, 4, shares.append, notes.append)
    assert sorted(map(str, found)) == sorted(map(str, expected))
    for key, one in expected.items():
        same(found[key], one)
    assert (shares, shares[-1]) == (sorted(shares), 1)
    (note,) = notes
    assert note.startswith("a worker died")
    assert note.endswith("another takes over smoothgrad of image 2")


@pytest.mark.parametrize("show", [cv.show_attribution, cv.show_evaluation])
def test_an_image_that_cannot_be_read_is_said_before_any_work(
    grown: Callable[[int], Any], show: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    clusters.write_noise(tmp_path / "photos", 3)
    (tmp_path / "photos" / "1.png").write_bytes(b"no image")
    net, told = Network(folder / "deploy.prototxt", folder / "net.caffemodel"), list[float]()
    for who in (grown(2), None):
        with pytest.raises(InputError, match=r"1\.png is not an image in a known format") as error:
            show(
                net,
                tmp_path / "photos",
                1,
                "gradient",
                cluster=who,
                on_progress=lambda d, n: told.append(d / n),
            )
        assert len(str(error.value).splitlines()) == 1
    assert max(told, default=0) < 0.5  # of looking at them


def test_the_commands(grown: Callable[[int], Any], folder: Path, tmp_path: Path) -> None:
    address, photo = grown(2).scheduler.address, folder / "photos" / "0.png"
    files = [folder / "deploy.prototxt", folder / "net.caffemodel"]
    common = ["--image", photo, "--method", "gradient", "-o", tmp_path, "--cluster", address]
    for command, more in (("attribute", ["--target", 1]), ("evaluate", ["--check", "curves", "--points", 3])):
        done = CliRunner().invoke(app, [str(one) for one in (command, *files, *common, *more)])
        assert done.exit_code == 0, done.output
        assert "cluster: 2 workers; " in done.output
    net = Network(*files)
    same_attributed(
        Attributed.load(tmp_path / "gradient.npz"), cv.show_attribution(net, photo, 1, "gradient")
    )
    expected = cv.show_evaluation(net, photo, None, "gradient", checks=["curves"], points=3)
    same(Evaluated.load(tmp_path).curves, expected.curves)
