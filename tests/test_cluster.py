"""Work on a cluster: the same results as here, whoever does it, whatever dies."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import resource_tracker, spawn
from pathlib import Path
from typing import Any

import clusters
import fork_server
import numpy as np
import pytest
from cluster_work import Squares, tell_every
from clusters import same, until
from commands import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import caffe_viz as cv
from caffe_viz.ascent import Ascent, ascend
from caffe_viz.errors import InputError, RunError
from caffe_viz.extraction.spool import Spool
from caffe_viz.images import ImageCollection
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Network
from caffe_viz.streaming import Batch, Failed, OnImages, in_order, joined
from caffe_viz.tasks import Cluster, Ranges, WorkerDeath, cluster_worker, parcels
from caffe_viz.tasks.addresses import connected
from caffe_viz.top import Top
from caffe_viz.top.top_k import TopK
from caffe_viz.views.classified import Classified
from caffe_viz.views.top_patches import searching

distributed: Any = pytest.importorskip("distributed", reason="dask is not installed")
PATIENCE = 120  # seconds
IMAGES = 100  # the last of four batches of 32 is short
NET = "caffenet_cifar10"
BLOBS = ["conv2", "fc"]

# --- joining ------------------------------------------------------------------------

ENDS = st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True).map(sorted)


def ranges_of(ends: list[int]) -> list[tuple[int, int]]:
    return list(zip([0, *ends[:-1]], ends, strict=True))


def any_order(parts: list[Any], join: Callable[[Any, Any], Any], rng: random.Random) -> Any:
    """The parts joined two by two, any with any."""
    parts = list(parts)
    while len(parts) > 1:
        one = parts.pop(rng.randrange(len(parts)))
        other = parts.pop(rng.randrange(len(parts)))
        parts.append(join(one, other))
    return parts[0]


@given(ENDS, st.randoms(use_true_random=False))
def test_ranges_in_any_order_are_one(ends: list[int], rng: random.Random) -> None:
    parts = [Ranges.of(*one) for one in ranges_of(ends)]
    some = any_order(parts, Ranges.union, rng)
    assert some == Ranges.of(0, ends[-1]) == Ranges.read(some.ends)
    assert len(some) == ends[-1]
    left = any_order([*parts[1:], Ranges()], Ranges.union, rng)
    assert list(left.missing(ends[-1])) == [range(ends[0])]
    with pytest.raises(ValueError, match="in both"):
        some.union(parts[-1])


def batch_of(first: int, last: int, failed: set[int], values: Any) -> Batch:
    good = tuple(n for n in range(first, last) if n not in failed)
    reasons = tuple(Failed(n, f"image {n}") for n in range(first, last) if n in failed)
    return Batch(good, {"a": values[list(good)]} if good else {}, reasons)


@settings(deadline=None)
@given(ENDS, st.sets(st.integers(0, 39)), st.integers(1, 5), st.randoms(use_true_random=False))
def test_standings_in_any_order_are_one(
    ends: list[int], failed: set[int], count: int, rng: random.Random
) -> None:
    """Of few values, so that many are equal: the earlier image stands first."""
    values = np.random.default_rng(rng.randrange(99)).integers(-1, 2, (40, 3, 4)).astype(np.float32)
    parts = []
    for first, last in ranges_of(ends):
        batch = batch_of(first, last, failed, values)
        good = list(batch.numbers)
        parts.append(TopK.of(count, batch, values[good] if good else np.empty((0, 3, 1), np.float32)))
    found = any_order(parts, TopK.joined, rng)
    used = [n for n in range(ends[-1]) if n not in failed]
    assert found.done == Ranges.of(0, ends[-1])
    assert [one.number for one in found.failed] == [n for n in range(ends[-1]) if n in failed]
    assert found.lowest == min((values[n].min() for n in used), default=np.inf)
    for f in range(3):
        best = sorted((-values[n, f].max(), n, int(values[n, f].argmax())) for n in used)[:count]
        filled = len(best)
        assert found.images[:filled, f].tolist() == [n for _, n, _ in best]
        assert found.units[:filled, f].tolist() == [unit for *_, unit in best]
        assert (found.images[filled:, f] == -1).all()
    with pytest.raises(ValueError, match="in both"):
        found.joined(parts[0])


@settings(deadline=None)
@given(ENDS, st.sets(st.integers(0, 39)), st.randoms(use_true_random=False))
def test_batches_in_any_order_are_one(ends: list[int], failed: set[int], rng: random.Random) -> None:
    values = np.arange(40, dtype=np.float32)[:, None]
    parts = [batch_of(first, last, failed, values) for first, last in ranges_of(ends)]
    mixed = rng.sample(parts, len(parts))
    whole = batch_of(0, ends[-1], failed, values)
    for found in (joined(mixed), joined(list(in_order([WorkerDeath(0, "why"), *mixed])))):
        assert (found.numbers, found.failed) == (whole.numbers, whole.failed)
        np.testing.assert_array_equal(found.values.get("a", []), whole.values.get("a", []))


@settings(deadline=None, max_examples=30)
@given(ENDS, st.sets(st.integers(0, 39)), st.randoms(use_true_random=False))
def test_rows_are_kept_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, ends: list[int], failed: set[int], rng: random.Random
) -> None:
    """The parts are the same, also where they begin and end, and half of it is another process's."""
    folder, values = tmp_path_factory.mktemp("rows"), np.arange(40, dtype=np.float32)[:, None]
    parts = [batch_of(first, last, failed, values) for first, last in ranges_of(ends)]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caffe_viz.extraction.spool.PART", 12)  # three rows
        for some in (parts, rng.sample(parts, len(parts))):
            for half in (some[: len(some) // 2], some[len(some) // 2 :]):  # begun, and gone on with
                spool = Spool(folder / str(len(found)), {}, {"a": (1,)})
                for batch in half:
                    spool.append(batch)
                spool.save()
                spool.close()
            assert spool.seen == ends[-1]
            assert spool.rows == len([n for n in range(ends[-1]) if n not in failed])
            found.append([part.ravel().tolist() for part in spool.parts("a")])
            with pytest.raises(ValueError, match="in both"):
                spool.append(parts[0])
    assert found[0] == found[1]
    assert [n for part in found[0] for n in part] == [n for n in range(ends[-1]) if n not in failed]


# --- the real thing -----------------------------------------------------------------


grown, client, net = clusters.grown, clusters.client, clusters.net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy net, photos/ of noise, the 70th no image; in here/ parcels of this process, in there/ of workers."""
    made = tmp_path_factory.mktemp("cluster")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    (made / "photos" / "70.png").write_bytes(b"no image")
    with clusters.parcels_apart(made):
        yield made


def finish(climbing: Any) -> Ascent:
    for _ in climbing:
        pass
    return climbing.result


def climbing_of(net: Network, **more: Any) -> Any:
    return ascend(
        net.message, net.trained, "conv2", preprocess=net.preprocess,
        **{"steps": 6, "save_every": 3, "seed": 1, "engine": net.engine, **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def here(net: Network, folder: Path) -> tuple[Ascent, Top, bytes, Classified, Any]:
    """What this process and its own worker pool make."""
    photos = folder / "photos"
    path = folder / "here.npz"
    cv.features(net, photos, BLOBS, output=path)
    top = cv.top_images(net, photos, "conv2", count=3).top
    means = cv.features(net, photos, "conv2", pool="mean")["conv2"]
    return finish(climbing_of(net, jobs=1)), top, path.read_bytes(), cv.classify(net, photos), means


def need_same(client: Any, net: Network, folder: Path, here: Any) -> None:
    photos = folder / "photos"
    ascent, top, rows, classes, means = here
    same(finish(climbing_of(net, cluster=client)), ascent)
    told: list[str] = []
    found = cv.top_images(
        net, photos, "conv2", count=3, cluster=client, on_progress=lambda p: told.append(p.note)
    )
    same(found.top, top)
    assert [note for note in told if note] == [f"skipped: {reason}" for reason in top.failed]
    assert (found.top.seen, len(found.top.failed)) == (IMAGES, 1)
    cv.features(net, photos, BLOBS, output=folder / "there.npz", cluster=client)
    assert (folder / "there.npz").read_bytes() == rows
    assert cv.classify(net, photos, cluster=client) == classes
    found_means = cv.features(net, photos, "conv2", pool="mean", cluster=client)["conv2"]
    np.testing.assert_array_equal(found_means, means)


def test_the_same_with_one_worker(grown: Callable[[int], Any], net: Network, folder: Path, here: Any) -> None:
    need_same(grown(1), net, folder, here)


def test_what_a_machine_has_is_not_sent_again(
    client: Any, net: Network, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers of one machine are sent weights once, for all works; a file of theirs is not sent at all."""
    sent: list[Path] = []
    parts = parcels.parts
    monkeypatch.setattr("caffe_viz.tasks.parcels.parts", lambda path: sent.append(path) or parts(path))
    monkeypatch.setattr("caffe_viz.tasks.parcels.LARGE", 2000)
    shutil.rmtree(folder / "there", ignore_errors=True)
    weights = [parcels._keep(m.SerializeToString(deterministic=True)) for m in [climbing_of(net).job.weights]]
    finish(climbing_of(net, cluster=client))
    assert sorted(path.name == weights[0] for path in sent) == [False, True]  # the work and its weights
    sent.clear()
    finish(climbing_of(net, cluster=client, rate=0.5, method="plain"))
    assert [path.name == weights[0] for path in sent] == [False]
    sent.clear()
    cv.top_images(net, folder / "photos", "conv2", cluster=client)
    assert len(sent) == 1
    assert net.weights not in sent


def numbers_done(folder: Path) -> list[int]:
    return sorted(int(path.name.split()[0]) for path in folder.iterdir())


def test_a_death_is_told_and_nothing_is_counted_twice(client: Any, tmp_path: Path) -> None:
    """Whoever waits at a slow number is killed: the others are done once, that one again."""
    work, results, deaths = Squares(tmp_path, slow=3), [], []
    with Cluster(client).running(work) as run:
        reports = run.run(range(8))
        for report in reports:
            if isinstance(report, WorkerDeath):
                deaths.append(report.piece)
                run._end()  # the slow one ends now
            else:
                results.append(report)
            if len(results) == 7 and not deaths:
                (slow,) = tmp_path.glob("3 *")
                os.kill(int(slow.name.split()[1]), signal.SIGKILL)
    assert deaths == [3]
    assert numbers_done(tmp_path).count(3) in (1, 2)
    assert sorted({*results} - {9}) == [n**2 for n in range(8) if n != 3]
    assert len(results) == len({*results})


def test_a_piece_that_kills_its_workers_ends_in_one_line(client: Any, tmp_path: Path) -> None:
    with (
        Cluster(client).running(Squares(tmp_path, deadly=2)) as run,
        pytest.raises(
            RunError, match=r"^2 workers died on number 2, one after another; try fewer at once\.$"
        ),
    ):
        for _ in run.run(range(4)):
            pass
    assert numbers_done(tmp_path).count(2) == 2


def test_the_line_names_the_filters(client: Any, net: Network) -> None:
    climbing = climbing_of(net, cluster=client)
    run = Cluster(client).running(climbing.job)
    error = distributed.scheduler.KilledWorker("key", None, 3)
    assert str(run._error((2, 3), error)).startswith("4 workers died on conv2:2, conv2:3, one")


def test_what_a_piece_raises_is_raised(client: Any, tmp_path: Path) -> None:
    run = Cluster(client).running(Squares(tmp_path, bad=2))
    with run, pytest.raises(InputError, match=r"^this number is bad\.$"):
        list(run.run(range(4)))


def test_pieces_that_are_asked_to_stop_hand_over_what_they_have(client: Any, net: Network) -> None:
    """As of Ctrl-C; of a climb under way the best so far."""
    client.run(tell_every, 0.05)
    climbing = climbing_of(net, cluster=client, steps=10**6, save_every=0)
    for progress in climbing:
        if progress.done > 8:
            climbing.stop()
    found = climbing.result
    assert 0 < len(found.filters) <= 8
    assert (found.values >= found.curve[:, 0]).all()
    assert (found.values > found.curve[:, 0]).any()
    client.run(tell_every, 1.0)
    until(lambda: not any(client.processing().values()))  # nothing is left behind
    assert [*Cluster(client).running(Squares(Path(os.devnull))).run([])] == []


def test_pieces_are_whole_batches_and_grow_with_the_workers(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the client is not asked too often."""
    work = OnImages(net, ("conv2",), 10**7)
    monkeypatch.setattr("caffe_viz.streaming.EFFORT", 70 * net.part("conv2").geometry.macs)
    assert [work.piece(workers) for workers in (1, 49, 50, 1000)] == [64, 64, 128, 256]
    assert replace(work, images=1000).piece(4) == 32


def noted(dask_scheduler: Any) -> int:
    """Of how many submissions dask has notes."""
    spans = dask_scheduler.extensions["spans"].spans.values()
    return sum(len(span._metadata["collections"]) for span in spans if span._metadata)


def test_the_scheduler_does_not_grow_with_the_pieces(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe_viz.tasks.cluster.NOTED", 10)
    with Cluster(client).running(Squares(tmp_path)) as run:
        assert len([*run.run(range(39))]) == 39
    assert client.run_on_scheduler(noted) < 20


def test_a_search_goes_on_wherever_it_was_begun(client: Any, net: Network, folder: Path, here: Any) -> None:
    """On the cluster, here, and on the cluster again; no image twice, which the ranges would refuse."""
    file = folder / "search.npz"
    photos = ImageCollection.of(folder / "photos")
    for cluster in (client, None):
        search = searching(net, photos, "conv2", None, 3, file, cluster=cluster)
        before = search.top_k.seen
        for _ in search:
            if search.top_k.seen > before:
                break
        search.save()
        assert search.top_k.seen == before + 32
    same(cv.top_images(net, photos, "conv2", count=3, state_file=file, cluster=client).top, here[1])


def test_features_go_on_wherever_they_were_begun(client: Any, net: Network, folder: Path, here: Any) -> None:
    class Enough(Exception):
        pass

    def enough(progress: Any) -> None:
        if progress.done:
            raise Enough

    path = folder / "begun.npz"
    for cluster in (client, None):
        with pytest.raises(Enough):
            cv.features(net, folder / "photos", BLOBS, output=path, cluster=cluster, on_progress=enough)
    assert len(cv.features(net, folder / "photos", BLOBS, output=path, cluster=client).failed) == 1
    assert path.read_bytes() == here[2]


def test_the_same_with_four_workers(
    grown: Callable[[int], Any], net: Network, folder: Path, here: Any
) -> None:
    need_same(grown(4), net, folder, here)


def test_on_each_engine(client: Any, net: Network, engine: str) -> None:
    some = {"filters": [1, 5], "engine": engine}
    same(finish(climbing_of(net, cluster=client, **some)), finish(climbing_of(net, jobs=1, **some)))


# --- what cannot be -----------------------------------------------------------------


def test_another_version_is_refused(client: Any) -> None:
    found = client.submit(cluster_worker.do, "run", "0.0.0", "", b"", pure=False).result(PATIENCE)
    assert f"has caffe_viz {cv.__version__}, and this is 0.0.0" in str(found.error)


def test_images_must_be_where_the_worker_is(client: Any, net: Network, tmp_path: Path) -> None:
    """A folder that is missing there is an error; each of its images would be passed over."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    collection = ImageCollection.of(tmp_path / "photos")
    assert pickle.loads(pickle.dumps(collection)).load(0).shape == (8, 8, 3)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(RunError, match="images are read where the net runs"):
        cv.top_images(net, collection, "conv1", cluster=client)


@pytest.mark.parametrize("given", [5, "local:2", object()])
def test_a_cluster_is_a_client(net: Network, given: Any) -> None:
    with pytest.raises(InputError, match=r"give a dask\.distributed\.Client"):
        climbing_of(net, cluster=given)


def test_a_client_that_was_closed_is_refused(client: Any) -> None:
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(InputError, match="the dask client is closed"):
        Cluster(other)


def test_jobs_are_for_this_machine(client: Any, net: Network) -> None:
    with pytest.raises(InputError, match="leave jobs out"):
        climbing_of(net, cluster=client, jobs=2)


@pytest.mark.parametrize("address", ["local:0", "local:", "5", "nowhere.json", "http://a"])
def test_an_address_is_one_of_three(address: str) -> None:
    said = refused("ascend", NET, "--layer", "conv1", "--cluster", address)
    assert f"--cluster {address}: give tcp://HOST:PORT, a scheduler file, or local:N" in said


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe_viz.tasks.addresses.WAIT", "1s")
    with (
        pytest.raises(RunError, match=r"^--cluster tcp://127.0.0.1:9: no scheduler answers there"),
        connected("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_local_process_ends_as_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    resource_tracker.ensure_running()  # which is of this executable too
    monkeypatch.setattr(spawn, "_python_exe", os.fsencode(shutil.which("false") or ""))
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        pytest.raises(RunError, match=r"^--cluster local:1: a process ended while it started \(.*\)\.$"),
        connected("local:1"),
    ):
        pass


def test_a_scheduler_file_or_an_address_will_do(client: Any, tmp_path: Path) -> None:
    client.write_scheduler_file(str(tmp_path / "scheduler.json"))
    for address in (client.scheduler.address, str(tmp_path / "scheduler.json")):
        with connected(address) as found:
            assert len(Cluster(found)) == len(client.nthreads())


def test_a_damaged_parcel_is_no_parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parcel = parcels.packed({"a": np.arange(3)})
    assert parcels.unpacked(parcel.digest)["a"].tolist() == [0, 1, 2]
    parcel.files[parcel.digest].write_bytes(pickle.dumps("something else"))
    with pytest.raises(parcels.Absent):
        parcels.unpacked(parcel.digest)
    parcels.receive("0" * 64, "run", 0, b"half of it", True)
    assert not (parcels.folder() / ("0" * 64)).exists()


def test_parcels_that_were_not_used_for_longest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("caffe_viz.tasks.parcels.KEPT", 25_000)
    made = [parcels.packed(bytes([n]) * 10_000).digest for n in range(2)]
    os.utime(parcels.folder() / made[1], (1, 1))
    made.append(parcels.packed(b"2" * 10_000).digest)
    assert {path.name for path in parcels.folder().iterdir()} == {made[0], made[2]}


def test_a_network_is_the_same_elsewhere(net: Network, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are the file where that is the same, else what was sent."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "elsewhere"))
    parcel = parcels.packed(net.part("conv2"))
    found = parcels.unpacked(parcel.digest)
    assert found.weights == Path(str(net.weights))
    assert found.part("conv2").message == net.part("conv2").message
    assert (found.preprocess, found.image) == (net.preprocess, net.image)
    own = folder / "own.caffemodel"
    shutil.copy(str(net.weights), own)
    parcel = parcels.packed(replace(net, weights=own))
    own.write_bytes(b"other weights")
    with pytest.raises(parcels.Absent):
        parcels.unpacked(parcel.digest)
    (digest,) = {*parcel.files} - {parcel.digest}
    shutil.copy(str(net.weights), parcels.folder() / digest)
    assert isinstance(parcels.unpacked(parcel.digest).trained, NetParameter)


# --- the command --------------------------------------------------------------------


TELLING = """
import sys
import caffe_viz.ascent as ascent
import distributed
import fork_server
from caffe_viz.cli import main

def told(self, event):
    found = progress(self, event)
    print(found.done, *(one.pid for one in distributed.Nanny._instances), file=sys.stderr, flush=True)
    return found

progress, ascent.RunningAscent._progress = ascent.RunningAscent._progress, told
fork_server.for_dask()
main()
"""


def test_ctrl_c_of_a_terminal_keeps_the_best(net: Network, folder: Path, tmp_path: Path) -> None:
    """It goes to all processes; those of local:2 leave it to the command."""
    arguments = [
        "ascend",
        net.prototxt,
        net.weights,
        "--layer",
        "conv2",
        "--filters",
        "1,5",
        "--steps",
        10**6,
        "--engine",
        "torch",
    ]
    started = fork_server.Popen(
        [sys.executable, "-c", TELLING, *map(str, arguments), "--cluster", "local:2", "-o", tmp_path / "out"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    said = started.stderr.readline()
    assert said.startswith("cluster: 2 workers; "), said
    workers: list[int] = []
    done = 0
    while done < 8:
        done, *workers = map(int, started.stderr.readline().split())
    assert len(workers) == 2
    for pid in (*workers, started.pid):
        os.kill(pid, signal.SIGINT)
    out, said = started.communicate(timeout=PATIENCE)
    assert started.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted: these are the best images so far"
    assert "conv2_natural_sheet.png" in out
    assert {*(tmp_path / "out").glob("conv2_natural_000?.png")}
