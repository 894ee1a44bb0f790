"""Ascents beside photographs, inversions and reports on a cluster: the same as without one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import clusters
import commands
import numpy as np
import pytest
from climbing import here
from clusters import same, until
from report_work import Bad

import caffe_viz as cv
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.report import RunningReport
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartResult
from caffe_viz.report.part_requests import (
    AscentRequest,
    AttributionRequest,
    PartReport,
    PartRequest,
    PartsWork,
    told,
)
from caffe_viz.report.plan import Part, Plan
from caffe_viz.tasks import Cluster, Execution, InProcess
from caffe_viz.views.colours import colours

pytest.importorskip("distributed", reason="dask is not installed")
IMAGES = 40  # of which one is no image


grown, client, net = clusters.grown, clusters.client, clusters.net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy net, labels, photos/ of noise, the 7th no image; in here/ parcels of this process, in there/ others'.

    Reports have no parts but those that take long: it makes the others itself, whoever makes these.
    """
    made = tmp_path_factory.mktemp("report")
    clusters.write_toy(made)
    (made / "labels.txt").write_text("ant\nbee\ncat\ndog\neel\n", encoding="utf-8")
    clusters.write_noise(made / "photos", IMAGES)
    (made / "photos" / "7.png").write_bytes(b"no image")
    with clusters.parcels_apart(made), pytest.MonkeyPatch.context() as patch:
        patch.setattr("caffe_viz.ascent.WorkerPool", here)  # without a cluster
        patch.setattr(Plan, "needed", lambda _: iter(()))
        yield made


def test_an_ascent_beside_photographs(client: Any, net: Network, folder: Path) -> None:
    asked: Any = {"filters": [1, 5], "steps": 4, "photos": folder / "photos"}
    alone, there = (cv.maximize(net, "conv2", **asked, **more) for more in ({}, {"cluster": client}))
    same(there.ascent, alone.ascent)
    assert alone.topmost
    assert there.topmost
    same(there.topmost.top, alone.topmost.top)
    assert alone.topmost.top.failed


def test_workers_read_the_photographs_whose_colours_are_measured(
    client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = ImageCollection.of(folder / "photos")
    alone = colours(collection)
    with monkeypatch.context() as patch:  # in whatever order they come
        patch.setattr(InProcess, "run", lambda here, pieces, run=InProcess.run: run(here, list(pieces)[::-1]))
        assert colours(collection) == alone
    monkeypatch.setattr(ImageCollection, "load", None)  # in this process
    assert alone is not None
    assert colours(collection, client) == alone


def test_an_inversion(client: Any, net: Network, folder: Path) -> None:
    asked: Any = {"steps": 4, "pictures": 2}
    photo = folder / "photos" / "0.png"
    alone, there = (cv.invert(net, photo, "conv2", **asked, **more) for more in ({}, {"cluster": client}))
    same(there.ascent, alone.ascent)
    assert there.name == alone.name


# --- report -------------------------------------------------------------------------


SLOW = 11  # parts that take long: four ascents, four attributions, three searches for places


def reporting(net: Network, out: Path, **more: Any) -> RunningReport:
    photos = Path(str(net.weights)).parent / "photos"
    return RunningReport(ReportContext.of(net, [photos / "0.png"], photos), out, budget=3600, **more)


def kept(report: RunningReport) -> dict[str, bytes]:
    """What is on its cache."""
    return {path.name: path.read_bytes() for path in report.cache.folder.iterdir()}


def slow(report: RunningReport) -> int:
    """How many parts are made that take long."""
    return sum(report.cache.get(part.key) is not None for part in report._plan.extra())


@pytest.fixture(scope="module")
def alone(net: Network, folder: Path) -> dict[str, bytes]:
    """The parts of a report that is made without a cluster."""
    report = reporting(net, folder / "alone")
    notes = [progress.note for progress in report]
    assert not any(notes)
    assert slow(report) == SLOW
    return kept(report)


def test_a_report_of_which_a_worker_dies_and_whose_time_is_up(
    client: Any, net: Network, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    """What is made stays, and the same call goes on; ascents, attributions and places are the same bytes."""
    report, killed = reporting(net, tmp_path, cluster=client), False
    for _ in report:
        if not killed and (busy := [worker for worker, parts in client.processing().items() if parts]):
            os.kill(client.run(os.getpid, workers=busy[:1])[busy[0]], signal.SIGKILL)
            killed = True
        if killed and slow(report) >= 2:
            report._deadline = 0
    assert 2 <= slow(report) < SLOW
    assert "There was no time yet for " in report.path.read_text("utf-8")
    until(lambda: not any(client.processing().values()))  # nothing is left behind
    begun = kept(report)
    report = reporting(net, tmp_path, cluster=client)
    assert begun.items() <= kept(report).items()
    for _ in report:
        pass
    assert kept(report) == alone


def test_a_part_on_each_engine(client: Any, net: Network, folder: Path, engine: str) -> None:
    """By a worker as by this process; the names of the classes are those of the file beside the net."""
    subject = ReportContext.of(replace(net, engine=engine), [folder / "photos" / "0.png"])
    parts = [AscentRequest("a", "fc", "fc", (4, 1)), AttributionRequest("b", "occlusion", 0, "occlusion")]
    runs: list[Execution[PartRequest, PartReport]] = [
        InProcess(PartsWork.of(subject)),
        Cluster(client).running(PartsWork.of(subject)),
    ]
    found: list[dict[str, PartResult | None]] = []
    for run in runs:
        with run:
            found.append({one.key: one.made for one in told(run, parts) if isinstance(one, PartReport)})
    for key, made in found[0].items():
        other = found[1][key]
        assert made
        assert other
        assert made.facts == other.facts
        for shot, its in zip(made.figures, other.figures, strict=True):
            np.testing.assert_array_equal(shot.rgb, its.rgb)
    climbed = found[1]["a"]
    assert climbed
    assert climbed.facts["titles"] == ["4 eel", "1 bee"]


def test_parts_that_fail_cost_no_others(
    client: Any, net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One raises, of one all workers die; the reason is on the cache, and the next run tries them again."""
    report = reporting(net, tmp_path, cluster=client)
    bad = [Bad(f"{n}", f"part {n}", deadly=n == 1) for n in range(2)]
    parts = [Part(one.key, one.title, lambda: None, request=lambda one=one: one) for one in bad]
    good = next(iter(report._plan.extra()))
    monkeypatch.setattr(report._plan, "extra", lambda: iter([*parts, good]))
    notes = [progress.note for progress in report]
    reasons = {part.key: found.failed for part in [*parts, good] if (found := report.cache.get(part.key))}
    assert reasons == {
        "0": "ValueError: this part is bad.",
        "1": "2 workers died on part 1, one after another; try fewer at once.",
        good.key: "",
    }
    assert {f"{part.title}: {reasons[part.key]}" for part in parts} <= {*notes}
    assert any(note.startswith("a worker died") and note.endswith("takes over part 1") for note in notes)


def test_the_command(client: Any, net: Network, tmp_path: Path) -> None:
    address = client.scheduler.address
    commands.here(
        "report", net.prototxt, net.weights, "--cluster", address, "--budget", "0", "-o", tmp_path,
    )  # fmt: skip
    assert f"--cluster {address}" in (tmp_path / "net_report.html").read_text("utf-8")
