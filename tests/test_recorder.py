"""Recorder: what it sees is what happened, what it does to the training is nothing, what it wrote survives."""

from __future__ import annotations

import io
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from recorder_toy import BATCH, LAYERS, MEMORY, PARAMETERS, SMOOTH, Cycle, examples, plain, solver, weights

from caffe_viz.errors import InputError, RunError
from caffe_viz.recording import Record, Recorder, TestNet
from caffe_viz.recording.blocks import Appender, Blocks
from caffe_viz.recording.periods import unpack
from caffe_viz.training.solvers import load_test_net, restore

KINDS = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
NO_MOMENTUM = ("AdaGrad", "RMSProp")


def recorder(made: Any, file: Path | None = None, **options: Any) -> Recorder:
    return Recorder(made, file, feed=Cycle(made.net), **{"layers": "all", **options})


# It changes nothing.


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_bit_for_bit_those_without(kind: str, engine: str, tmp_path: Path) -> None:
    options = {"momentum": 0 if kind in NO_MOMENTUM else 0.9, "more": f'type: "{kind}" clip_gradients: 1.5'}
    alone = solver(tmp_path, engine, **options)
    plain(alone, 12)
    watched = solver(tmp_path, engine, **options)
    net = load_test_net(watched.settings, engine=engine)
    test = TestNet(net, 5, Cycle(net))
    with recorder(watched, tmp_path / "a.record", every=3, test=test) as made:
        made.step(12)
    assert len(made.record.periods) == 4
    assert 0 < made.record.periods[-1].scores["accuracy"] <= 1
    for a, b in zip(weights(alone.net), weights(watched.net), strict=True):
        np.testing.assert_array_equal(a, b)


# What it sees.


def test_four_epochs_give_the_array_of_gradients(engine: str, tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, engine), every="epoch")
    made.step(20)
    record = made.record
    assert record.gradients.shape == (4, PARAMETERS)
    assert (record.head.net, record.head.engine) == ("toy", engine)
    assert record.iterations.tolist() == [5, 10, 15, 20]
    shapes = [blob.data.shape for blobs in made.solver.net.params.values() for blob in blobs]
    assert [g.shape for g in record.gradients[3]] == shapes
    norms = [[np.linalg.norm(g) for g in row] for row in record.gradients]
    np.testing.assert_allclose(record.curve("gradients"), norms, rtol=1e-5)
    assert np.min(record.curve("gradients")) > 0


def test_gradients_are_those_of_the_batch_before_the_update(engine: str, tmp_path: Path) -> None:
    """Central differences of the loss, with the weights as they were, for one entry of three parameters."""
    made = recorder(solver(tmp_path, engine, layers=SMOOTH, more="clip_gradients: 0.01"), every=3)
    made.step(2)
    before, net = weights(made.solver.net), made.solver.net
    made.step()
    feed = Cycle(net)
    feed.fill(2)
    blobs = [blob for blobs in net.params.values() for blob in blobs]

    def loss(k: int, entry: int, change: float) -> float:
        for blob, values in zip(blobs, before, strict=True):
            blob.data[...] = values
        blobs[k].data.reshape(-1)[entry] += change
        net.forward()
        return float(net.blobs["loss"].data)

    for k, entry in ((0, 17), (2, 40), (5, 1)):
        step = 1e-2
        numeric = (loss(k, entry, step) - loss(k, entry, -step)) / (2 * step)
        found = made.record.gradients[0, k].reshape(-1)[entry]
        assert found == pytest.approx(numeric, rel=0.02, abs=2e-5), k
        assert abs(found) > 1e-3


def test_update_is_what_the_solver_did_to_the_weights(engine: str, tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, engine), every=5)
    made.step(4)
    before = weights(made.solver.net)
    made.step()
    period = made.record.periods[0]
    changes = [a - b for a, b in zip(weights(made.solver.net), before, strict=True)]
    np.testing.assert_allclose(period.updates, [np.linalg.norm(c) for c in changes], rtol=1e-5)
    np.testing.assert_allclose(period.weights, [np.linalg.norm(b) for b in before], rtol=1e-5)
    np.testing.assert_allclose(made.record.ratios[0], period.updates / period.weights, rtol=1e-5)
    assert period.rate == pytest.approx(0.05)  # 0.1 halved after 4 updates
    for name, (side, blob) in {"conv": ("values", 0), "score": ("values", 1)}.items():
        _, found = getattr(made.record, side)(name, blob)
        np.testing.assert_array_equal(found[-1], made.solver.net.params[name][blob].data)


def test_iter_size_gives_the_mean_of_its_batches(engine: str, tmp_path: Path) -> None:
    """The gradient over two batches of six is half the sum of those of each."""
    data, label = examples(12)["data"], examples(12)["label"].reshape(-1, 1, 1, 1)
    found: list[Any] = []
    for arrays, more in (
        ((data, label), "iter_size: 2"),
        ((data[:BATCH], label[:BATCH]), ""),
        ((data[BATCH:], label[BATCH:]), ""),
    ):
        made = solver(tmp_path, engine, data=MEMORY, layers=SMOOTH, more=more)
        made.net.set_input_arrays(*map(np.ascontiguousarray, arrays))
        seen = Recorder(made, layers="all", every=1)
        seen.step()
        found.append(seen.record.gradients[0])
    for both, one, other in zip(*found, strict=True):
        np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-4, atol=1e-6)


def test_losses_are_those_of_every_iteration(engine: str, tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, engine), every=4)
    seen = [made.step() for _ in range(10)]
    made.close()
    iterations, losses = made.record.losses
    assert iterations.tolist() == list(range(1, 11))
    np.testing.assert_allclose(losses, [step.loss for step in seen], rtol=1e-6)
    assert [step.iteration for step in seen] == list(range(1, 11))
    assert [step.scores is None for step in seen] == [i % 4 != 0 for i in range(1, 11)]
    assert seen[0].loss > 0.5


def test_dead_units_are_those_never_active_in_the_period(engine: str, tmp_path: Path) -> None:
    made = solver(tmp_path, engine)
    made.net.params["conv"][1].data[...] = [0, 0, -1000, -1000]
    seen = recorder(made, every=2)
    seen.step(2)
    made.net.params["conv"][1].data[2] = 0  # wakes up in the second period
    seen.step(2)
    made.net.params["conv"][1].data[:2] = -1000  # and others die before the third
    seen.step(2)
    assert seen.record.head.relus == ("relu",)
    np.testing.assert_allclose(seen.record.curve("dead"), [[0.5], [0.25], [0.75]])


def test_only_what_a_rectifier_left_last_is_counted(engine: str, tmp_path: Path) -> None:
    """A Power in place lifts what the ReLU made 0: its blob says nothing of dead units."""
    power = 'layer { name: "up" type: "Power" bottom: "conv" top: "conv" power_param { shift: 1 } }'
    lifted = LAYERS.replace('layer { name: "fc"', f'{power}\nlayer {{ name: "fc"', 1)
    assert recorder(solver(tmp_path, engine, layers=lifted), every=1).record.head.relus == ()


def test_histograms_count_every_weight(engine: str, tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, engine), every=2)
    made.step(2)
    period, values = made.record.periods[0], weights(made.solver.net)
    assert period.counts.sum(axis=1).tolist() == [v.size for v in values]
    np.testing.assert_array_equal(period.high, [max(v.max(), 0) for v in values])
    np.testing.assert_array_equal(
        period.counts[0], np.histogram(values[0], 64, (period.low[0], period.high[0]))[0]
    )


def test_the_start_is_kept_too(engine: str, tmp_path: Path) -> None:
    made = solver(tmp_path, engine)
    start = weights(made.net)[0]
    seen = recorder(made, layers=["conv"], every=3)
    seen.step(6)
    iterations, values = seen.record.values("conv")
    assert iterations.tolist() == [0, 3, 6]
    np.testing.assert_array_equal(values[0], start)
    with pytest.raises(InputError, match="keeps no values of layer 'fc', only norms; it keeps those of conv"):
        seen.record.values("fc")
    with pytest.raises(InputError, match=r"no parameter 0 of a layer 'cnv'.*'conv'"):
        seen.record.values("cnv")


def test_a_record_without_full_values_is_small(engine: str, tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, engine), tmp_path / "a.record", layers=(), every=1)
    sizes = []
    for _ in range(4):
        made.step()
        sizes.append((tmp_path / "a.record").stat().st_size)
    assert np.ptp(np.diff(sizes)) <= 64
    assert np.diff(sizes)[0] < 10_000


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"every": 0}, "every is 0"),
        ({"every": "week"}, "every is 'week'"),
        ({"layers": ["cnv"]}, r"no layer 'cnv' with parameters.*'conv'"),
        ({"feed": None, "every": "epoch"}, "length of an epoch is not known"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], reason: str, engine: str, tmp_path: Path) -> None:
    made = solver(tmp_path, engine)
    with pytest.raises(InputError, match=reason):
        Recorder(made, **{"feed": Cycle(made.net), **options})


def test_a_solver_of_pycaffe_needs_its_settings(caffe: Any, tmp_path: Path) -> None:
    path = str(solver(tmp_path, "caffe").settings.net)
    bare = caffe.get_solver(path.replace("net.prototxt", "solver.prototxt"))
    with pytest.raises(InputError, match="give settings, its solver"):
        Recorder(bare, every=1)
    seen = Recorder(bare, every=1, feed=Cycle(bare.net), settings=tmp_path / "solver.prototxt")
    seen.step(2)
    assert len(seen.record.periods) == 2


def test_a_recorder_that_is_gone_costs_nothing(engine: str, tmp_path: Path) -> None:
    made = solver(tmp_path, engine)
    seen = recorder(made, every=1)
    seen.step()
    del seen
    plain(made, 2)
    assert made.iter == 3


# The file.


def blocks(path: Path) -> list[str]:
    return [block.kind for block in Blocks.of(path).found]


def test_reading_a_truncated_file_gives_the_whole_periods(tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, "torch"), tmp_path / "a.record", every=1)
    made.step(3)
    made.close()
    data = (tmp_path / "a.record").read_bytes()
    ends = [frame.end for frame in Record.load(tmp_path / "a.record").frames]
    head = Blocks.of(tmp_path / "a.record").found[0].end
    for size in sorted({*range(head, len(data), 397), *ends[:-1], *(end - 1 for end in ends)}):
        whole = sum(end <= size for end in ends)
        record = Record.load(io.BytesIO(data[:size]))
        assert len(record.frames) == whole, size
        assert not record.note
    with pytest.raises(InputError, match="not the record"):
        Record.load(io.BytesIO(data[: head - 1]))


def test_flipped_bits_are_seen(tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, "torch"), tmp_path / "a.record", every=1)
    made.step(2)
    made.close()
    whole = Record.load(tmp_path / "a.record")
    data = (tmp_path / "a.record").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(20, len(data), 60):
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        try:
            record = Record.load(io.BytesIO(bytes(broken)))
            changed = bool(record.note) or len(record.frames) < len(whole.frames)
            if not changed:
                _ = record.gradients, record.values("conv"), record.values("conv", 1)
                _ = [record.values(p.layer, p.blob) for p in record.head.parameters]
                raise AssertionError(f"byte {at} was changed, and nobody saw it")
        except InputError as error:
            assert "damaged" in str(error) or "not the record" in str(error)  # noqa: PT017


def test_no_pickle_and_no_bomb_is_opened(tmp_path: Path) -> None:
    made = recorder(solver(tmp_path, "torch"), tmp_path / "a.record", every=1)
    made.close()
    record = Record.load(tmp_path / "a.record")
    arrays = unpack(record.frames[0].period.to_bytes())
    zipped, pickled = io.BytesIO(), io.BytesIO()
    np.savez_compressed(zipped, **arrays)  # 1000 times as large when unpacked, if it had zeros
    np.savez(pickled, **{**arrays, "losses": np.array([{}], object)})
    for content in (zipped, pickled, io.BytesIO(b"nothing")):
        path = tmp_path / f"{len(content.getvalue())}.record"
        path.write_bytes((tmp_path / "a.record").read_bytes())
        appender = Appender(path, path.stat().st_size)
        appender.append([("fram", content.getvalue())])
        appender.close()
        with pytest.raises(InputError, match="damaged"):
            Record.load(path)


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    first = recorder(solver(tmp_path, "torch"), path, every=1)
    with pytest.raises(InputError, match="exists already"):
        recorder(solver(tmp_path, "torch"), path, every=1)
    second = solver(tmp_path, "torch")
    plain(second, 1)
    with pytest.raises(RunError, match="is being written by another run"):
        recorder(second, path, every=1)
    first.close()


def test_a_killed_run_loses_at_most_its_last_period(engine: str, tmp_path: Path) -> None:
    solver(tmp_path, engine)
    path = tmp_path / "a.record"
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from caffe_viz.recording import Recorder
        from caffe_viz.training import load_solver
        from recorder_toy import Cycle
        made = load_solver({str(tmp_path / "solver.prototxt")!r}, engine={engine!r})
        with Recorder(made, {str(path)!r}, layers="all", every=1, feed=Cycle(made.net)) as seen:
            while True:
                print(seen.step().iteration, flush=True)
    """)
    here = Path(__file__).resolve().parent
    process = fork_server.Popen([sys.executable, "-c", code], cwd=here, stdout=fork_server.PIPE, text=True)
    assert process.stdout
    said = 0
    for line in process.stdout:
        said = int(line)
        if said in (5, 10):  # readable while it grows
            assert len(Record.load(path).periods) >= said
        if said >= 15:
            break
    time.sleep(0.05)  # in the middle of anything
    os.kill(process.pid, signal.SIGKILL)
    rest = [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    done = (rest or [said])[-1]
    record = Record.load(path)
    assert len(record.periods) in (done, done + 1)
    assert record.gradients.shape == (len(record.periods), PARAMETERS)
    resumed = solver(tmp_path, engine)
    plain(resumed, 12)
    with recorder(resumed, path, every=1) as seen:
        seen.step(3)
    assert Record.load(path).iterations.tolist() == list(range(1, 16))


# Going on.


def test_a_resumed_record_is_that_of_one_run(engine: str, tmp_path: Path) -> None:
    """Without momentum and dropout, so that a snapshot is all that there is to know."""
    whole = solver(tmp_path, engine, layers=SMOOTH)
    with recorder(whole, tmp_path / "whole.record", every=4) as seen:
        seen.step(14)
    first = solver(tmp_path, engine, layers=SMOOTH)
    with recorder(first, tmp_path / "parts.record", every=4) as seen:
        seen.step(6)
        first.snapshot()
        seen.step(5)  # lost: it goes on from 6
    second = solver(tmp_path, engine, layers=SMOOTH)
    restore(second, tmp_path / "toy_iter_6.solverstate")
    assert second.iter == 6
    with recorder(second, tmp_path / "parts.record", every=4) as seen:
        seen.step(8)
    one, two = Record.load(tmp_path / "whole.record"), Record.load(tmp_path / "parts.record")
    assert two.iterations.tolist() == [4, 8, 12]
    np.testing.assert_allclose(one.curve("gradients"), two.curve("gradients"), rtol=1e-5)
    np.testing.assert_array_equal(one.curve("rate"), two.curve("rate"))
    assert two.losses[0].tolist()[-6:] == list(range(9, 15))


def test_an_interrupted_period_keeps_its_losses(engine: str, tmp_path: Path) -> None:
    first = solver(tmp_path, engine, layers=SMOOTH)
    with recorder(first, tmp_path / "a.record", every=5) as seen:
        seen.step(7)
    first.snapshot()
    assert Record.load(tmp_path / "a.record").losses[0].tolist() == list(range(1, 8))
    second = solver(tmp_path, engine, layers=SMOOTH)
    restore(second, tmp_path / "toy_iter_7.solverstate")
    with recorder(second, tmp_path / "a.record", every=5) as seen:
        seen.step(4)
    record = Record.load(tmp_path / "a.record")
    assert record.losses[0].tolist() == list(range(1, 12))
    assert [len(p.losses) for p in record.periods] == [5, 5]


def test_the_record_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    with recorder(solver(tmp_path, "torch"), path, every=5) as seen:
        seen.step(5)
    other = solver(tmp_path, "torch")
    plain(other, 5)
    with pytest.raises(InputError, match="its every is 5, not 2"):
        recorder(other, path, every=2)
    with pytest.raises(InputError, match="parameters, or those that it keeps"):
        recorder(other, path, every=5, layers=["conv"])
    (tmp_path / "b.record").write_text("nothing")
    with pytest.raises(InputError, match="not the record"):
        recorder(other, tmp_path / "b.record", every=5)


def test_a_reduced_record_keeps_what_was_asked(tmp_path: Path) -> None:
    with recorder(solver(tmp_path, "torch"), tmp_path / "a.record", every=2) as seen:
        seen.step(6)
    whole = Record.load(tmp_path / "a.record")
    whole.reduced(["conv"], tmp_path / "b.record")
    small = Record.load(tmp_path / "b.record")
    np.testing.assert_array_equal(small.values("conv")[1], whole.values("conv")[1])
    np.testing.assert_array_equal(small.gradient("conv"), whole.gradient("conv"))
    np.testing.assert_array_equal(small.ratios, whole.ratios)
    assert [p.layer for p in small.head.parameters if p.kept] == ["conv", "conv"]
    assert (tmp_path / "b.record").stat().st_size < (tmp_path / "a.record").stat().st_size
