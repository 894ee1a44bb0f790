"""Solvers of the embedded engine against real Caffe's: updates, learning rates, tests, snapshots, bad input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solver_toys import IMAGES, LABELS, NET, batches, caffenet_cifar10, learn, lenet, ready, values, written

pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.engine import pycaffe as ours
from caffe_viz.errors import InputError, RunError
from caffe_viz.parity import apart

LIMIT = 1e-5  # of the largest value of a parameter
Values = dict[str, np.ndarray]

RULES = {
    "SGD": "",
    "SGD without momentum": "momentum: 0",
    "Nesterov": 'type: "Nesterov"',
    "AdaGrad": 'type: "AdaGrad" momentum: 0',
    "RMSProp": 'type: "RMSProp" momentum: 0 rms_decay: 0.9 base_lr: 0.005',
    "AdaDelta": 'type: "AdaDelta" momentum: 0.95 base_lr: 1 delta: 1e-6',
    "Adam": 'type: "Adam" base_lr: 0.01 momentum2: 0.99',
}
MANNERS = {
    "plain": "",
    "iter_size": "iter_size: 2",
    "clipped": "clip_gradients: 0.1",
    "L1": 'regularization_type: "L1"',
    "all": 'regularization_type: "L1" iter_size: 3 clip_gradients: 0.5',
}
POLICIES = {
    "fixed": 'lr_policy: "fixed"',
    "step": 'lr_policy: "step" gamma: 0.5 stepsize: 3',
    "exp": 'lr_policy: "exp" gamma: 0.9',
    "inv": 'lr_policy: "inv" gamma: 0.3 power: 0.75',
    "multistep": 'lr_policy: "multistep" gamma: 0.3 stepvalue: 2 stepvalue: 7 stepvalue: 7',
    "poly": 'lr_policy: "poly" power: 1.5',
    "sigmoid": 'lr_policy: "sigmoid" gamma: -0.7 stepsize: 5',
}


def worst(theirs: Values, mine: Values) -> float:
    assert list(theirs) == list(mine)
    return max(apart(theirs[name], mine[name]) for name in theirs)


def agree(caffe: Any, path: str, steps: int = 12) -> Any:
    """Train on both engines; the embedded one's solver."""
    real, own = ready(caffe.get_solver(path)), ready(ours.get_solver(path))
    start = values(own)
    for each in (real, own):
        each.step(steps)
    assert worst(start, values(own)) > 1e-3, "nothing was trained"
    assert real.iter == own.iter == steps
    assert worst(values(real), values(own)) <= LIMIT
    assert worst(values(real, "diff"), values(own, "diff")) <= LIMIT
    return own


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("rule", RULES)
def test_updates(caffe: Any, tmp_path: Path, rule: str, manner: str) -> None:
    agree(caffe, written(tmp_path, f"{RULES[rule]} {MANNERS[manner]}"))


@pytest.mark.parametrize("policy", POLICIES)
def test_learning_rates(caffe: Any, tmp_path: Path, policy: str) -> None:
    agree(caffe, written(tmp_path, f"{POLICIES[policy]} momentum: 0"))


def test_classes_pass_over_the_type(caffe: Any, tmp_path: Path) -> None:
    path = written(tmp_path, 'type: "Adam"')
    for name in ("SGDSolver", "NesterovSolver", "AdaDeltaSolver"):
        real, own = ready(getattr(caffe, name)(path)), ready(getattr(ours, name)(path))
        for each in (real, own):
            each.step(3)
        assert worst(values(real), values(own)) <= LIMIT


def test_old_solver_type(caffe: Any, tmp_path: Path) -> None:
    own = agree(caffe, written(tmp_path, "solver_type: NESTEROV"))
    assert isinstance(own, ours.NesterovSolver)


def test_force_backward_counts_frozen_gradients_in_the_norm(caffe: Any, tmp_path: Path) -> None:
    agree(caffe, written(tmp_path, "clip_gradients: 0.1", NET + "force_backward: true"))


def test_settings_as_a_message(tmp_path: Path) -> None:
    from caffe_viz.netdef import read_solver

    path = written(tmp_path)
    found = []
    for given in (path, Path(path), read_solver(path)):
        solver = ready(ours.get_solver(given))
        solver.step(2)
        found.append(values(solver))
    assert worst(found[0], found[1]) == worst(found[0], found[2]) == 0


# --- what happens around the updates ------------------------------------------------------


def events(solver: Any, steps: int) -> list[Any]:
    """What a callback sees: sums of gradients, and how far data layers and tests have come."""
    seen: list[Any] = []
    nets = [solver.net, *solver.test_nets]

    def start() -> None:
        seen.append(("start", solver.iter, *(np.array(net.blobs["label"].data) for net in nets)))
        seen.append(("diffs", *values(solver, "diff").values()))

    def gradients() -> None:
        seen.append(("gradients", *values(solver, "diff").values()))

    solver.add_callback(start, gradients)
    solver.step(steps)
    seen.append(("end", solver.iter, *(np.array(net.blobs["label"].data) for net in nets)))
    seen.append(("scores", *(np.array(net.blobs[n].data) for net in nets[1:] for n in ("loss", "accuracy"))))
    return seen


def same(theirs: list[Any], mine: list[Any]) -> None:
    assert [one[0] for one in theirs] == [one[0] for one in mine]
    for one, other in zip(theirs, mine, strict=True):
        for a, b in zip(one[1:], other[1:], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("first", ["true", "false"])
def test_tests_and_callbacks_come_when_caffe_has_them(caffe: Any, tmp_path: Path, first: str) -> None:
    settings = f"test_iter: 2 test_interval: 3 test_initialization: {first} iter_size: 2"
    path = written(tmp_path, settings)
    same(*(events(ready(each.get_solver(path)), 8) for each in (caffe, ours)))


def test_gradients_ready_are_sums_over_iter_size(tmp_path: Path) -> None:
    """Against gradients of the two batches, one at a time."""
    solver = ready(ours.get_solver(written(tmp_path, "iter_size: 2 clip_gradients: 0.01")))
    solver.net.clear_param_diffs()
    alone = ready(ours.get_solver(written(tmp_path))).net
    for _ in range(2):
        alone.forward()
        alone.backward()
    seen: list[Values] = []
    solver.add_callback(lambda: None, lambda: seen.append(values(solver, "diff")))
    solver.step(1)
    for name, blobs in alone.params.items():
        for i, blob in enumerate(blobs):
            np.testing.assert_array_equal(seen[0][f"{name} {i}"], blob.diff)


def test_an_error_of_a_callback_comes_through(tmp_path: Path) -> None:
    solver = ready(ours.get_solver(written(tmp_path)))
    solver.add_callback(lambda: 1 / 0, lambda: None)
    with pytest.raises(ZeroDivisionError):
        solver.step(1)
    assert solver.iter == 0


def test_watching_changes_nothing(tmp_path: Path) -> None:
    """Arrays held, read and read again in between: the weights are the same bit for bit."""
    path = written(tmp_path, "iter_size: 2")
    plain, watched = (ready(ours.get_solver(path)) for _ in range(2))
    held = [
        getattr(b, side) for some in watched.net.params.values() for b in some for side in ("data", "diff")
    ]
    watched.add_callback(lambda: values(watched), lambda: values(watched, "diff"))
    for each in (plain, watched):
        each.step(5)
    assert worst(values(plain), values(watched)) == 0
    shown = [
        getattr(b, side) for some in watched.net.params.values() for b in some for side in ("data", "diff")
    ]
    for array, now in zip(held, shown, strict=True):
        np.testing.assert_array_equal(array, now)
    assert worst(values(plain, "diff"), values(watched, "diff")) == 0


def test_gradients_of_a_shared_parameter_add_up_in_one_order(caffe: Any, tmp_path: Path) -> None:
    """From the last of three layers to the first, also where the array of only one of them is held."""
    layers = "".join(
        f'layer {{ name: "ip{i}" type: "InnerProduct" bottom: "data" top: "ip{i}" param {{ name: "w" }} '
        f"inner_product_param {{ num_output: 4 bias_term: false }} }}"
        for i in range(3)
    )
    (tmp_path / "net.prototxt").write_text(f"force_backward: true {STATES.format(layers=layers)}")
    rng = np.random.default_rng(0)
    seeds = {f"ip{i}": 10.0**i * rng.normal(size=(2, 4)).astype(np.float32) for i in range(3)}
    found = []
    for held in (None, "ip0", "ip1", "ip2"):
        net = ours.Net(str(tmp_path / "net.prototxt"), ours.TRAIN)
        net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(2, 3))
        net.forward()
        for name, seed in seeds.items():
            net.blobs[name].diff[...] = seed
        array = net.blobs[held].diff if held else None
        net.backward()
        del array
        found.append(np.array(net.params["ip0"][0].diff))
    parts = [seeds[f"ip{i}"].T @ net.blobs["data"].data for i in range(3)]
    assert not np.array_equal(parts[0] + parts[1] + parts[2], parts[2] + parts[1] + parts[0])
    for one in found:
        np.testing.assert_array_equal(one, found[0])


def test_a_backward_after_an_update_uses_the_new_weights(caffe: Any, tmp_path: Path) -> None:
    path, found = written(tmp_path, "", "force_backward: true" + NET), []
    for each in (caffe, ours):
        solver = ready(each.get_solver(path))
        solver.step(2)
        solver.net.backward()
        found.append({**values(solver, "diff"), "data": np.array(solver.net.blobs["data"].diff)})
    assert worst(*found) <= LIMIT


def test_diffs_add_to_what_the_update_left(caffe: Any, tmp_path: Path) -> None:
    path, found = written(tmp_path), []
    for each in (caffe, ours):
        solver = ready(each.get_solver(path))
        solver.step(2)
        solver.net.forward()
        solver.net.backward()
        found.append(values(solver, "diff"))
    assert worst(*found) <= LIMIT


def test_apply_update_of_gradients_of_ones_own(tmp_path: Path) -> None:
    solver = ready(ours.get_solver(written(tmp_path, "weight_decay: 0 momentum: 0.5 base_lr: 0.25")))
    for blob in solver.net.params["scale"]:
        blob.data[...] = 0
        blob.diff[...] = 1
    for expected in (0.25, 0.25 + 0.125 + 0.0625):  # the second gradient is the first update
        solver.apply_update()
        np.testing.assert_array_equal(solver.net.params["scale"][0].data, -expected)
    assert solver.iter == 0


def test_solve_ends_as_in_caffe(caffe: Any, tmp_path: Path) -> None:
    """One forward more where the loss would be displayed, a test more, a snapshot unless there is one."""
    for display, snapshot in ((6, 4), (5, 5)):
        settings = f"display: {display} snapshot: {snapshot} test_iter: 1 test_interval: 6"
        seen = []
        for name, each in (("real", caffe), ("own", ours)):
            folder = tmp_path / f"{name}{display}"
            folder.mkdir()
            path = written(folder, f'{settings} snapshot_after_train: true snapshot_prefix: "{folder}/s"')
            solver = ready(each.get_solver(path))
            solver.solve()
            assert solver.iter == 12
            nets = (solver.net, *solver.test_nets)
            labels = [np.array(net.blobs["label"].data) for net in nets]
            seen.append((sorted(p.name for p in folder.iterdir()), labels, values(solver)))
        assert seen[0][0] == seen[1][0]
        np.testing.assert_array_equal(seen[0][1], seen[1][1])
        assert worst(seen[0][2], seen[1][2]) <= LIMIT


# --- nets ---------------------------------------------------------------------------------

STATES = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
{layers}
"""


def staged(*rules: str) -> str:
    """A net with one layer for each rule."""
    layers = [
        f'layer {{ name: "ip{i}" type: "InnerProduct" bottom: "data" top: "ip{i}" '
        f"inner_product_param {{ num_output: 2 }} {rule} }}"
        for i, rule in enumerate(rules)
    ]
    return STATES.format(layers="\n".join(layers))


RULED = staged(
    "", "include { phase: TRAIN }", "include { phase: TEST }", 'include { stage: "own" }',
    'include { stage: "asked" }', "include { min_level: 1 }", 'exclude { stage: "asked" phase: TEST }',
)  # fmt: skip
OTHER = staged('include { stage: "other" }', "")
INLINE = " ".join(OTHER.split())
NETS = {
    "net": ("test_iter: 1 test_interval: 1", RULED),
    "several": ("test_iter: 1 test_iter: 1 test_interval: 1", RULED),
    "states": ('test_iter: 1 test_interval: 1\ntrain_state { stage: "asked" level: 2 }\ntest_state { stage: "asked" }', RULED),
    "state of the net": ('test_iter: 1 test_interval: 1\ntest_state { level: 1 stage: "asked" }', RULED + 'state { stage: "own" level: 3 }'),
    "phase of the net": ("test_iter: 1 test_interval: 1", RULED + "state { phase: TEST }"),
    "train_net": ('train_net: "{}/net.prototxt"', RULED),
    "test_net": ('test_iter: 1 test_interval: 1 train_net: "{}/net.prototxt" test_net: "{}/other.prototxt"', RULED),
    "both": ('test_iter: 1 test_iter: 1 test_iter: 1 test_interval: 1 net: "{}/net.prototxt" test_net: "{}/other.prototxt"\ntest_net_param {' + INLINE + "}", RULED),
    "net_param": ("test_iter: 1 test_interval: 1\nnet_param {" + INLINE + "}", RULED),
    "train_net_param": ("train_net_param {" + INLINE + "}", RULED),
}  # fmt: skip


@pytest.mark.parametrize("case", NETS)
def test_nets_are_those_of_caffe(caffe: Any, tmp_path: Path, case: str) -> None:
    settings, net = NETS[case]
    (tmp_path / "other.prototxt").write_text(OTHER)
    path = written(tmp_path, settings.replace("{}", str(tmp_path)), net)
    layers = []
    for each in (caffe, ours):
        solver = each.get_solver(path)
        solver.step(1)
        layers.append([list(net._layer_names) for net in (solver.net, *solver.test_nets)])
    assert layers[0] == layers[1]


def test_test_nets_have_the_weights_of_the_moment(caffe: Any, tmp_path: Path) -> None:
    for each in (caffe, ours):
        solver = ready(each.get_solver(written(tmp_path, "test_iter: 1 test_interval: 2")))
        solver.step(3)
        (net,) = solver.test_nets
        solver.net.params["ip1"][0].data[...] = 7
        assert (net.params["ip1"][0].data == 7).all()
        assert (net.params["ip2"][0].data == 7).all()
        assert net.params["ip1"][0].diff.max() == 0


def test_random_seed_gives_the_same_weights_again(tmp_path: Path) -> None:
    net = NET.replace("num_output: 5 }", 'num_output: 5 weight_filler { type: "gaussian" } }')
    found = [values(ours.get_solver(written(tmp_path, f"random_seed: {seed}", net))) for seed in (4, 4, 5)]
    assert worst(found[0], found[1]) == 0
    assert worst(found[0], found[2]) > 0.1


def test_paths_are_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'net: "net.prototxt"')
    with pytest.raises(InputError, match=r"net.prototxt.*relative to the working folder, here "):
        ours.get_solver(path)
    monkeypatch.chdir(tmp_path)
    assert ours.get_solver(path).net.name == "toy"


# --- snapshots ----------------------------------------------------------------------------


@pytest.fixture(params=["BINARYPROTO", "HDF5"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


SCHEDULE = 'lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 8'


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("way", ["to Caffe", "from Caffe", "alone"])
def test_training_goes_on_from_a_snapshot(caffe: Any, tmp_path: Path, kind: str, rule: str, way: str) -> None:
    writer, reader = {"to Caffe": (ours, caffe), "from Caffe": (caffe, ours), "alone": (ours, ours)}[way]
    settings = f'{RULES[rule]} {SCHEDULE} snapshot_format: {kind} snapshot: 6 snapshot_prefix: "{tmp_path}/s"'
    path = written(tmp_path, settings)
    first, second = ready(writer.get_solver(path)), ready(reader.get_solver(path), seed=9)
    first.step(6)
    second.restore(f"{tmp_path}/s_iter_6.solverstate" + ".h5" * (kind == "HDF5"))
    assert second.iter == 6
    assert worst(values(first), values(second)) == 0
    for each in (first, second):
        each.net.set_input_arrays(IMAGES, LABELS)
        each.step(6)
    assert worst(values(first), values(second)) <= (LIMIT if caffe in (writer, reader) else 0)


def test_solve_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    path = written(tmp_path, f'snapshot: 6 snapshot_prefix: "{tmp_path}/s"')
    first = ready(ours.get_solver(path))
    first.solve()
    second = ready(ours.get_solver(path), seed=9)
    second.solve(tmp_path / "s_iter_6.solverstate")  # 6 iterations of 4 images: again at the first image
    assert second.iter == 12
    assert worst(values(first), values(second)) == 0


def test_snapshot_diff(caffe: Any, tmp_path: Path, kind: str) -> None:
    settings = f"snapshot_diff: true snapshot_format: {kind}"
    found = []
    for name, each in (("real", caffe), ("own", ours)):
        solver = ready(each.get_solver(written(tmp_path, f'{settings} snapshot_prefix: "{tmp_path}/{name}"')))
        solver.step(2)
        solver.snapshot()
        found.append(diffs_in(f"{tmp_path}/{name}_iter_2.caffemodel"))
    assert len(found[0]) > 5
    assert worst({n: found[0][n] for n in found[1]}, found[1]) <= LIMIT


def test_the_name_of_the_weights_in_hdf5_ends_with_a_zero(caffe: Any, tmp_path: Path) -> None:
    """Caffe takes the name as a C string: without its end it would read on, into whatever follows."""
    from caffe_viz.files import h5py

    found = []
    for each in (caffe, ours):
        solver = each.get_solver(written(tmp_path, f'snapshot_format: HDF5 snapshot_prefix: "{tmp_path}/s"'))
        solver.snapshot()
        with h5py().File(f"{tmp_path}/s_iter_0.solverstate.h5") as file:
            found.append(file["learned_net"].id.get_type().get_size())
    assert found == [len(f"{tmp_path}/s_iter_0.caffemodel.h5") + 1] * 2


def diffs_in(model: str) -> Values:
    from caffe_viz.files import h5py
    from caffe_viz.netdef import read_weights

    if os.path.exists(model):
        message = read_weights(model)
        return {f"{x.name} {i}": np.array(b.diff) for x in message.layer for i, b in enumerate(x.blobs)}
    with h5py().File(model + ".h5") as file:
        return {f"{n} {i}": np.array(v) for n, some in file["diff"].items() for i, v in some.items()}


def test_a_snapshot_without_prefix_is_named_as_in_caffe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours.get_solver(written(tmp_path)).snapshot()
    assert {"_iter_0.caffemodel", "_iter_0.solverstate"} < {p.name for p in tmp_path.iterdir()}


def test_a_snapshot_is_written_whole_or_not_at_all(tmp_path: Path, kind: str) -> None:
    """In place of one file stands a folder that cannot be replaced: the others are whole, no part is left."""
    ending = ".solverstate" + ".h5" * (kind == "HDF5")
    (tmp_path / f"s_iter_0{ending}" / "full").mkdir(parents=True)
    path = written(tmp_path, f'snapshot_format: {kind} snapshot_prefix: "{tmp_path}/s"')
    with pytest.raises(RunError, match=r"s_iter_0\.solverstate.* cannot be written"):
        ours.get_solver(path).snapshot()
    found = {p.name for p in tmp_path.iterdir()} - {"net.prototxt", "solver.prototxt"}
    assert found == {f"s_iter_0{ending}", f"s_iter_0{ending.replace('.solverstate', '.caffemodel')}"}


def spoiled(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Files that are no snapshot of the toy net, and what is said about each."""
    ending = ".h5" * (kind == "HDF5")
    settings = f'snapshot_format: {kind} snapshot_prefix: "{folder}/{{}}"'
    wider = NET.replace("num_output: 5", "num_output: 6")
    less = NET.replace(
        'layer { name: "tanh"',
        'layer { name: "bias" type: "Bias" bottom: "scale" top: "scale" } layer { name: "tanh"',
    )
    nets = {"wide": (wider, ""), "less": (less, ""), "adam": (NET, 'type: "Adam"')}
    for name, (net, rule) in nets.items():
        ours.get_solver(written(folder, f"{settings.format(name)} {rule}", net)).snapshot()
    yield (
        f"wide_iter_0.solverstate{ending}",
        r"of another net: array \d of its history is \(6, .*\), this solver's \(5,",
    )
    yield f"less_iter_0.solverstate{ending}", "holds 9 arrays of history, this solver keeps 8"
    yield f"adam_iter_0.solverstate{ending}", "holds 16 arrays of history, this solver keeps 8"
    yield f"wide_iter_0.caffemodel{ending}", "is not a solver"
    yield f"nothing.solverstate{ending}", "nothing"
    (folder / f"text.solverstate{ending}").write_text("hello")
    yield f"text.solverstate{ending}", "text"
    ours.get_solver(written(folder, settings.format("gone"))).snapshot()
    (folder / f"gone_iter_0.caffemodel{ending}").unlink()
    yield f"gone_iter_0.solverstate{ending}", "gone_iter_0.caffemodel.*not exist.*working folder"
    (folder / f"wide_iter_0.caffemodel{ending}").rename(folder / f"gone_iter_0.caffemodel{ending}")
    yield f"gone_iter_0.solverstate{ending}", r"layer 'ip1', blob 0.*6"


def test_what_is_no_snapshot_of_this_net_is_said_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    own = ready(ours.get_solver(written(tmp_path)))
    own.step(1)
    before = values(own)
    for name, words in spoiled(tmp_path, kind):
        with pytest.raises(InputError, match=words) as caught:
            own.restore(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert own.iter == 1
        assert worst(before, values(own)) == 0


# --- real nets ------------------------------------------------------------------------------

# Of LeNet those of Caffe's MNIST example, whose base_lr 0.01 is for batches of 64.
NETS_AND_RATES = {
    "lenet": (lenet, 'base_lr: 0.002 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75'),
    "caffenet_cifar10": (caffenet_cifar10, 'base_lr: 0.002 weight_decay: 0.001 lr_policy: "poly" power: 1 max_iter: 7000'),
}  # fmt: skip


def weighted(solver: Any) -> Any:
    """`solver` with weights that keep the size of activations."""
    rng = np.random.default_rng(1)
    for blobs in solver.net.params.values():
        blobs[0].data[...] = rng.normal(size=blobs[0].data.shape) / np.sqrt(np.prod(blobs[0].data.shape[1:]))
        blobs[1].data[...] = 0
    return solver


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS_AND_RATES)
def test_steps_of_real_nets_each_from_the_weights_of_caffe(caffe: Any, tmp_path: Path, name: str) -> None:
    """Each step begins with Caffe's snapshot: runs that go on alone part by rounding, Caffe from itself too."""
    net, settings = NETS_AND_RATES[name]
    path = written(tmp_path, f'{settings} snapshot_prefix: "{tmp_path}/s"', net(4))
    real, own = weighted(caffe.get_solver(path)), ours.get_solver(path)
    start = values(real)
    for i, batch in enumerate(batches(real.net.blobs["data"].data.shape, 12)):
        real.snapshot()
        own.restore(f"{tmp_path}/s_iter_{i}.solverstate")
        theirs, mine = (learn(solver, *batch) for solver in (real, own))
        assert mine == pytest.approx(theirs, rel=0, abs=1e-5)
    assert worst(start, values(real)) > 1e-2, "nothing was learned"


def smooth(batch: int) -> str:
    """caffenet_cifar10 without decisions that rounding can turn over: TanH for ReLU, means for maxima."""
    return caffenet_cifar10(batch).replace('"ReLU"', '"TanH"').replace("pool: MAX", "pool: AVE")


# Each with as many images as it needs to learn something in so many steps.
FREE = {
    "lenet": (lenet, 16, 50, 'weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75'),
    "caffenet_cifar10, smooth": (smooth, 8, 30, 'weight_decay: 0.001 lr_policy: "fixed"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FREE)
def test_losses_of_many_steps_alone(caffe: Any, tmp_path: Path, name: str) -> None:
    """From the same weights and batches, with the momentum and base_lr of the nets' own solvers."""
    net, size, count, settings = FREE[name]
    path = written(tmp_path, f"base_lr: 0.01 momentum: 0.9 {settings}", net(size))
    both = [weighted(module.get_solver(path)) for module in (caffe, ours)]
    shape, start = both[0].net.blobs["data"].data.shape, values(both[0])
    losses = [[learn(solver, *batch) for solver in both] for batch in batches(shape, count)]
    theirs, mine = np.transpose(losses)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4)
    trained = [values(solver) for solver in both]
    assert worst(*trained) <= 1e-4
    assert worst(start, trained[0]) > 0.1, "nothing was learned"


# --- bad input ----------------------------------------------------------------------------

SHARED = NET.replace("lr_mult: 0.5 decay_mult: 2", "lr_mult: 0.5").replace(
    'param { name: "shared" }', 'param { name: "shared" lr_mult: 3 }'
)
WRONG = {
    "policy": ('lr_policy: "stpe"', "lr_policy 'stpe' is unknown. Did you mean 'step'"),
    "no policy": ('lr_policy: ""', "lr_policy '' is unknown. There are: fixed, step"),
    "stepsize": ('lr_policy: "step" gamma: 0.1', "lr_policy 'step' needs stepsize"),
    "max_iter": ('lr_policy: "poly" max_iter: 0', "lr_policy 'poly' needs max_iter"),
    "type": ('type: "Adm"', "type 'Adm' is unknown. Did you mean 'Adam'"),
    "two types": ('type: "SGD" solver_type: SGD', "both type and the old solver_type"),
    "regularization": ('regularization_type: "L3"', "regularization_type 'L3' is unknown"),
    "momentum": ('type: "AdaGrad"', "AdaGrad takes no momentum, but it is 0.9"),
    "rms": ('type: "RMSProp" momentum: 0 rms_decay: 1', "rms_decay 1 must be at least 0 and below 1"),
    "adam": ('type: "Adam" momentum: 1', "momentum 1 of Adam must be"),
    "momentum2": ('type: "Adam" momentum2: 1', "momentum2 1 of Adam must be"),
    "average_loss": ("average_loss: 0", "average_loss 0 must be 1 or more"),
    "iter_size": ("iter_size: 0", "iter_size 0 must be 1 or more"),
    "prefix": ("snapshot: 5", "snapshot needs snapshot_prefix"),
    "test_interval": ("test_iter: 1", "test_interval 0 must be above 0"),
    "test_state": ("test_iter: 1 test_interval: 1\ntest_state { }\ntest_state { }", "test_state is given 2 times, for 1 test nets"),
    "test_iter": ('test_net: "x"', "test_iter is given 0 times, for 1 test nets"),
    "too many": ('train_net: "x" test_iter: 1 test_interval: 1', "test_iter is given 1 times, for 0 test nets"),
    "eval_type": ('test_iter: 1 test_interval: 1 eval_type: "x"', "eval_type 'x' is unknown"),
    "two nets": ('net: "x" train_net: "x"', "but the file has net and train_net"),
    "no net file": ('net: "no.prototxt"', "no.prototxt: no such prototxt.*relative to the working folder"),
    "a net": ("layer { }", r"solver.prototxt: line \d+: .*This is a net's prototxt: give the solver.prototxt"),
    "field": ("momentun: 1", r"line \d+: Caffe has no momentun here, .*Did you mean .momentum"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_settings_are_one_clear_line(tmp_path: Path, case: str) -> None:
    settings, words = WRONG[case]
    with pytest.raises(InputError, match=words) as caught:
        ours.get_solver(written(tmp_path, settings))
    assert "\n" not in str(caught.value)
    assert "prototxt" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(InputError, match=r"solver.prototx: no such prototxt"):
        ours.SGDSolver(tmp_path / "solver.prototx")


def test_no_net(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('lr_policy: "fixed"')
    with pytest.raises(
        InputError, match=r"one of net, net_param, train_net, train_net_param.*the file has none"
    ):
        ours.SGDSolver(path)


def test_multipliers_of_a_shared_parameter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'ip2': lr_mult 0.5 of the shared parameter 'shared' must be .* 3"):
        ours.get_solver(written(tmp_path, "", SHARED))


def test_a_rate_that_is_no_number(tmp_path: Path) -> None:
    solver = ready(ours.get_solver(written(tmp_path, 'lr_policy: "poly" power: 0.5 max_iter: 2')))
    with pytest.raises(RunError, match=r"gives the learning rate nan at iteration 3 \(max_iter 2"):
        solver.step(4)
    assert solver.iter == 3
    assert all(np.isfinite(array).all() for array in values(solver).values())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a folder that you can write to"):
        ours.get_solver(written(tmp_path, f'snapshot: 1 snapshot_prefix: "{tmp_path}/file/s"'))


def test_a_test_net_with_other_parameters(tmp_path: Path) -> None:
    bias = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" include { phase: TEST } convolution_param { num_output: 4 kernel_size: 3 } }'
    net = NET.replace(
        'name: "conv" type: "Convolution"', 'name: "conv" include { phase: TRAIN } type: "Convolution"'
    )
    net = net.replace(
        'layer { name: "norm" type: "BatchNorm"', bias + 'layer { name: "norm" type: "BatchNorm"'
    )
    solver = ready(ours.get_solver(written(tmp_path, "test_iter: 1 test_interval: 1", net)))
    with pytest.raises(InputError, match="layer 'conv': 1 parameters cannot be shared with 2"):
        solver.step(1)


# --- memory that solvers need to be alone ---------------------------------------------------

BIAS = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "b" type: "Bias" bottom: "a" top: "b" bias_param { axis: 0 num_axes: -1 } }
force_backward: true
"""
PARAMETER = """
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 } } }
layer { name: "q" type: "Power" bottom: "p" top: "q" }
"""
Play = Callable[[Any, str], Iterator[np.ndarray]]


def bias(module: Any, path: str) -> Iterator[np.ndarray]:
    """The diff of a parameter that is only added is not the memory of the top's diff."""
    net = module.Net(path, module.TRAIN)
    net.blobs["a"].data[...] = 1
    net.forward()
    net.blobs["b"].diff[...] = 5
    net.backward()
    net.params["b"][0].diff[...] = 7
    yield from (np.array(net.blobs["b"].diff), np.array(net.blobs["a"].diff))


def parameter(module: Any, path: str) -> Iterator[np.ndarray]:
    """A Parameter layer hands out the memory that it was given after it was made."""
    first, second = module.Net(path, module.TRAIN), module.Net(path, module.TRAIN)
    first.params["p"][0].data[...] = 3
    second.share_with(first)
    yield np.array(second.forward()["q"])
    first.params["p"][0].data[...] = 4
    yield np.array(second.forward()["q"])


@pytest.mark.parametrize(("play", "net"), [(bias, BIAS), (parameter, PARAMETER)])
def test_memory(caffe: Any, tmp_path: Path, play: Play, net: str) -> None:
    (tmp_path / "net.prototxt").write_text(net)
    found = [list(play(module, str(tmp_path / "net.prototxt"))) for module in (caffe, ours)]
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0]).max() > 0
