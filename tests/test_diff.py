"""diff: two caffemodels with planted changes, and what is said about each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import completed

from caffe_viz.comparing import Diff, LayerDiff, compare
from caffe_viz.comparing.duplicates import duplicates
from caffe_viz.comparing.filters import dead, norms
from caffe_viz.errors import InputError
from caffe_viz.figures.changes import change_bars, filters_beside
from caffe_viz.netdef import NetParameter, blob_array, make_blob, parse_net, read_weights, write_weights
from caffe_viz.views.compared import Compared, compare_weights

# name: (type, shape of the weights); conv2 has two groups.
LAYERS = {
    "conv1": ("Convolution", (8, 3, 5, 5)),
    "conv2": ("Convolution", (12, 4, 3, 3)),
    "fc3": ("InnerProduct", (20, 60)),
    "fc4": ("InnerProduct", (5, 20)),
}
Arrays = dict[str, list[Any]]


def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        name: [rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[0]).astype(np.float32)]
        for name, (_, shape) in LAYERS.items()
    }


def message(values: Arrays, types: dict[str, str] | None = None) -> NetParameter:
    out = NetParameter(name="net")
    out.layer.add(name="data", type="Input")
    for name, blobs in values.items():
        kind = (types or {}).get(name) or LAYERS.get(name, ("",))[0]
        layer = out.layer.add(name=name, type=kind, blobs=map(make_blob, blobs))
        if name == "conv2":
            layer.convolution_param.group = 2
    return out


def diff(plant: Callable[[Arrays], object], **options: Any) -> Diff:
    changed = arrays()
    plant(changed)
    return compare(message(arrays()), message(changed), **options)


def layer(found: Diff, name: str) -> LayerDiff:
    return next(x for x in found.layers if x.name == name)


def summary(found: Diff) -> str:
    return "\n".join(Compared(found).summary)


command = partial(completed, "diff")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A.caffemodel, and B.caffemodel with one change of each kind."""
    after = arrays()
    after["conv1"][0][2] += 1
    after["conv1"][0][5] = 0
    after["conv2"][0][9] = 3 * after["conv2"][0][7]
    after["fc5"] = [np.ones((7, 20), np.float32)]
    del after["fc4"]
    paths = tmp_path / "A.caffemodel", tmp_path / "B.caffemodel"
    for path, values in zip(paths, (arrays(), after), strict=True):
        write_weights(message(values), path)
    return paths


def test_the_same_is_said_so() -> None:
    found = diff(lambda values: None)
    assert {x.state for x in found.layers} == {"same"}
    assert found.shown == ()
    assert "the same: all 4 layers" in summary(found)
    for x in found.layers:
        assert x.change is not None
        assert (x.change.relative, x.change.largest, x.change.others) == (0, 0, (0,))
        assert x.change.cosine == pytest.approx(1, abs=1e-12)


def test_the_numbers_of_a_change() -> None:
    """Against NumPy's own norm, in float64."""
    after = arrays()
    rng = np.random.default_rng(1)
    for blob in after["fc3"]:
        blob += rng.normal(size=blob.shape).astype(np.float32) / 10
    found = layer(compare(message(arrays()), message(after)), "fc3").change
    assert found is not None
    a, b = (x["fc3"][0].astype(np.float64) for x in (arrays(), after))
    assert found.relative == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-12)
    assert found.cosine == pytest.approx(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-12)
    assert found.largest == np.abs(b - a).max()
    bias = [x["fc3"][1].astype(np.float64) for x in (arrays(), after)]
    assert found.others == pytest.approx((np.linalg.norm(bias[1] - bias[0]) / np.linalg.norm(bias[0]),))
    assert found.changed == 20
    order = [x.filter for x in found.filters]
    assert order == np.argsort(-np.linalg.norm(b - a, axis=1)).tolist()
    first = found.filters[0]
    row = np.linalg.norm((b - a)[order[0]]) / np.linalg.norm(a[order[0]])
    assert (first.relative, first.largest) == (pytest.approx(row), np.abs((b - a)[order[0]]).max())


def test_one_changed_filter_is_found_and_drawn() -> None:
    def plant(values: Arrays) -> None:
        values["conv2"][0][7, 2, 1, 1] += 0.5

    found = diff(plant)
    assert [x.state for x in found.layers] == ["same", "changed", "same", "same"]
    change = layer(found, "conv2").change
    assert change is not None
    assert (change.changed, change.largest) == (1, pytest.approx(0.5))
    assert [x.filter for x in change.filters] == [7]
    (shown,) = found.shown
    assert (shown.layer, shown.kind, shown.titles[0][:2]) == ("conv2", "changed", "7:")
    np.testing.assert_array_equal(shown.first[0], arrays()["conv2"][0][7])
    assert "the same: 3 of 4: conv1, fc3, fc4\nchanged: 1 of 4, most first: conv2" in summary(found)


def test_a_killed_filter_is_dead() -> None:
    def plant(values: Arrays) -> None:
        values["conv1"][0][5] = 0
        values["fc3"][0][11] *= 1e-4

    found = diff(plant)
    for name, number in (("conv1", 5), ("fc3", 11)):
        sides = layer(found, name)
        assert sides.a is not None
        assert sides.b is not None
        assert (sides.a.dead, sides.b.dead) == ((), (number,))
    assert "dead filters: 0 -> 2: conv1 0 -> 1 (5); fc3 0 -> 1 (11)" in summary(found)
    assert any("5: change 1, dead in B" in title for x in found.shown for title in x.titles)


@pytest.mark.parametrize("alive", [1, 3, 10, 99])
def test_dead_whatever_the_share_of_the_others(alive: int) -> None:
    """Also where most filters were pruned, to 0 or nearly."""
    lengths = np.full(100, 1e-5)
    lengths[:alive] = np.linspace(0.5, 2, alive)
    assert dead(lengths).tolist() == list(range(alive, 100))
    assert dead(np.zeros(3)).tolist() == [0, 1, 2]
    assert dead(np.array([1.0, 0.1, 0.02])).tolist() == []


def test_a_duplicated_filter_is_found_whatever_its_length() -> None:
    def plant(values: Arrays) -> None:
        values["conv1"][0][6] = 3 * values["conv1"][0][1]
        rows = values["fc3"][0]
        rows[4], rows[6], rows[9] = -rows[0], 2 * rows[0], -2 * rows[0]  # 0 and 6, 4 and 9; no opposite ones
        rows[[11, 12]] = rows[0] * 1e-5  # dead

    found = diff(plant)
    sides = layer(found, "conv1")
    assert sides.a is not None
    assert sides.b is not None
    assert (sides.a.pairs, sides.b.pairs, sides.b.copies) == (0, 1, 1)
    rows = layer(found, "fc3").b
    assert rows is not None
    assert [(p.first, p.second) for p in rows.duplicates] == [(0, 6), (4, 9)]
    (pair,) = sides.b.duplicates
    assert (pair.first, pair.second, pair.cosine) == (1, 6, pytest.approx(1, abs=1e-6))
    shown = next(x for x in found.shown if x.kind == "duplicates")
    assert (shown.layer, shown.file) == ("conv1", "B")
    np.testing.assert_allclose(shown.first, shown.second, atol=1e-6)
    words = "duplicated pairs of filters: 0 -> 3: conv1 0 -> 1 (1 and 6); fc3 0 -> 2 (0 and 6, 4 and 9)"
    assert words in summary(found)


def test_duplicates_of_either_file_are_shown() -> None:
    """Once where both have them."""
    before, after = arrays(), arrays()
    before["conv1"][0][6] = before["conv1"][0][1]
    before["fc3"][0][2] = before["fc3"][0][0]
    after["fc3"][0][2] = after["fc3"][0][0]
    found = compare(message(before), message(after))
    shown = [(x.layer, x.file) for x in found.shown if x.kind == "duplicates"]
    assert shown == [("conv1", "A"), ("fc3", "A and B")]


def test_filters_are_shown_of_the_first_layer_and_the_four_most_changed() -> None:
    rng = np.random.default_rng(0)
    given = {f"fc{k}": [rng.normal(size=(6, 9))] for k in range(8)}
    amounts = [0.0, 0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.6]
    after = {name: [blobs[0] * (1 + x)] for (name, blobs), x in zip(given.items(), amounts, strict=True)}
    found = compare(message(given), message(after))
    assert [x.layer for x in found.shown] == ["fc1", "fc2", "fc4", "fc5", "fc7"]
    assert [x.name for x in found.ranked][:3] == ["fc2", "fc4", "fc5"]
    chosen = compare(message(given), message(after), layers=["fc6", "fc3"], count=2)
    assert [(x.layer, len(x.first)) for x in chosen.shown] == [("fc3", 2), ("fc6", 2)]


def test_a_bias_alone_is_a_change() -> None:
    def plant(values: Arrays) -> None:
        values["fc3"][1][0] += 1

    found = diff(plant)
    assert [x.state for x in found.layers] == ["same", "same", "changed", "same"]
    change = layer(found, "fc3").change
    assert change is not None
    assert (change.relative, change.changed) == (0, 0)
    assert (change.others[0] or 0) > 0.05


def test_filters_of_two_groups_are_no_duplicates() -> None:
    """They see different channels."""

    def plant(values: Arrays) -> None:
        values["conv2"][0][8] = values["conv2"][0][1]

    assert "duplicated" not in summary(diff(plant))

    def inside(values: Arrays) -> None:
        values["conv2"][0][8] = values["conv2"][0][6]

    assert "conv2 0 -> 1 (6 and 8)" in summary(diff(inside))


@pytest.mark.parametrize("columns", [40, 700, 6000])
def test_duplicates_equal_all_cosines(columns: int) -> None:
    """Wide filters are first judged by a bound of some columns: no pair may be missed, none invented."""
    rng = np.random.default_rng(columns)
    filters = rng.normal(size=(1500, columns)).astype(np.float32)
    near = rng.choice(1500, (30, 2), replace=False)
    for k, (i, j) in enumerate(near):  # cosines from 0.96 to 1, on both sides of the limit
        noise = rng.normal(size=columns) * np.sqrt(1 / (0.96 + 0.04 * (k + 0.5) / 30) ** 2 - 1)
        filters[j] = 2 * (filters[i] + noise)
    filters *= np.exp(rng.normal(size=columns)).astype(np.float32)  # energy in few columns
    lengths = norms(filters)
    unit = filters / lengths[:, None]
    i, j = np.nonzero(np.triu(unit @ unit.T > 0.98, 1))
    copies, pairs, best = duplicates(filters, lengths, 1, dead(lengths))
    assert {(p.first, p.second) for p in best} == set(zip(i.tolist(), j.tolist(), strict=True))
    assert (pairs, copies) == (len(i), len(set(j)))
    assert 5 < pairs < 30


def test_all_alike_is_counted_and_not_listed() -> None:
    rows = np.ones((300, 9), np.float32)
    copies, pairs, best = duplicates(rows, norms(rows), 1, dead(norms(rows)))
    assert (copies, pairs, len(best)) == (299, 300 * 299 // 2, 100)
    assert duplicates(rows[:, :1], norms(rows[:, :1]), 1, np.empty(0, np.intp)) == (0, 0, [])


def test_a_renamed_layer_is_recognised() -> None:
    def plant(values: Arrays) -> None:
        values["score"] = [values.pop("fc4")[0] * 1.1, np.zeros(5, np.float32)]

    found = diff(plant)
    one = layer(found, "score")
    assert (one.renamed, one.state) == (True, "changed")
    assert one.change is not None
    assert one.change.relative == pytest.approx(0.1, rel=1e-4)
    assert "renamed: fc4 -> score" in summary(found)


def test_a_new_head_of_the_same_shape_is_no_renamed_one() -> None:
    def plant(values: Arrays) -> None:
        del values["fc4"]
        values["score"] = [np.random.default_rng(9).normal(size=(5, 20)), np.zeros(5)]

    found = diff(plant)
    assert [(x.name, x.state) for x in found.layers][-2:] == [("score", "only in B"), ("fc4", "only in A")]
    assert "only in A: fc4 (5 20)\nonly in B: score (5 20)" in summary(found)


def test_positive_vectors_are_not_all_alike() -> None:
    """Scales of two unrelated layers have a cosine near 1."""
    rng = np.random.default_rng(0)
    found = compare(*(message({name: [rng.uniform(0.8, 1, 64)]}) for name in ("old", "new")))
    assert [x.state for x in found.layers] == ["only in B", "only in A"]


def test_all_layers_renamed_find_their_own() -> None:
    """Among layers of one shape, BatchNorm's positive vectors too."""
    rng = np.random.default_rng(0)
    given = {f"bn{k}": [rng.uniform(0.5, 1, 64), rng.uniform(1, 2, 64)] for k in range(6)}
    given |= {f"ones{k}": [np.ones(64), np.zeros(64)] for k in range(3)}
    renamed = {f"net/{name}": blobs for name, blobs in given.items()}
    found = compare(message(given), message(renamed))
    assert [x.a.name for x in found.layers if x.a] == [x.name.removeprefix("net/") for x in found.layers]
    assert {x.state for x in found.layers} == {"same"}


def test_another_shape_is_a_new_head_or_a_pruned_layer(tmp_path: Path) -> None:
    def plant(values: Arrays) -> None:
        values["fc4"] = [np.random.default_rng(9).normal(size=(9, 20)), np.zeros(9)]
        values["conv1"] = [x[[0, 3, 4]] for x in values["conv1"]]
        values["conv2"] = [values["conv2"][0][:, :2], values["conv2"][1]]

    found = diff(plant)
    assert [x.state for x in found.layers] == ["other shape", "other shape", "same", "other shape"]
    assert [x.kept for x in found.layers] == [3, None, None, 0]
    found.save(tmp_path / "diff.npz")
    assert Diff.load(tmp_path / "diff.npz").layers == found.layers
    assert "conv1 (8 3 5 5 -> 3 3 5 5; A has 3 of B's 3 filters)" in summary(found)
    assert "conv2 (12 4 3 3 -> 12 2 3 3)" in summary(found)


def test_an_inner_product_made_a_convolution() -> None:
    """Net surgery: the same numbers in four axes, under another name."""
    after = arrays()
    after["fc3-conv"] = [after["fc3"][0].reshape(20, 15, 2, 2), after.pop("fc3")[1]]
    after["fc3-conv"][0][4] += 1
    found = compare(message(arrays()), message(after, {"fc3-conv": "Convolution"}))
    one = layer(found, "fc3-conv")
    assert one.renamed
    assert one.change is not None
    assert [x.filter for x in one.change.filters] == [4]
    assert found.shown[0].first.shape == (1, 15, 2, 2)
    Compared(found).filters("fc3-conv")


def test_filters_of_deconvolution_and_transposed_inner_product() -> None:
    """Their outputs are not the first axis."""
    rng = np.random.default_rng(0)
    up, fc = rng.normal(size=(6, 4, 2, 2)), rng.normal(size=(30, 10))
    nets = []
    for change in (0, 1):
        up[3:, 1] += change  # of group 1, output 1: filter 5 of 8
        fc[:, 7] += change
        net = message({"up": [up], "fc": [fc]}, {"up": "Deconvolution", "fc": "InnerProduct"})
        net.layer[1].convolution_param.group = 2
        net.layer[2].inner_product_param.transpose = True
        nets.append(net)
    found = compare(*nets)
    changes = [x.change for x in found.layers]
    assert [[f.filter for f in c.filters] for c in changes if c] == [[5], [7]]
    assert found.layers[0].a is not None
    assert (found.layers[0].a.filters, found.shown[0].first.shape) == (8, (1, 3, 2, 2))


def test_statistics_of_batch_norm_count_over_their_factor() -> None:
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=8), rng.uniform(1, 2, 8)
    types = {"bn": "BatchNorm"}
    nets = [
        message({"bn": [f * mean, f * variance * v, np.array([f])]}, types) for f, v in ((1, 1), (999, 1.5))
    ]
    change = compare(*nets).layers[0].change
    assert change is not None
    assert change.relative == pytest.approx(0, abs=1e-6)
    assert change.others == (pytest.approx(0.5, rel=1e-5),)


def test_zeros_of_pruning() -> None:
    def plant(values: Arrays) -> None:
        values["fc3"][0][np.abs(values["fc3"][0]) < 1] = 0

    found = diff(plant)
    side = layer(found, "fc3").b
    assert side is not None
    assert side.zeros == np.mean(np.abs(arrays()["fc3"][0]) < 1)
    assert "zeros among the weights: 0.0 % ->" in summary(found)


def test_a_diverged_snapshot_is_said_first() -> None:
    def plant(values: Arrays) -> None:
        values["fc3"][0][3, :2] = np.nan, np.inf
        values["conv2"][0] += 1

    found = diff(plant)
    side = layer(found, "fc3").b
    assert side is not None
    assert (layer(found, "fc3").state, side.not_finite) == ("not finite", 2)
    assert Compared(found).summary[2] == "NaN or infinity: fc3"
    json.dumps(Compared(found).to_json(), allow_nan=False)
    assert "not finite" in str(Compared(found).table)
    assert Compared(found).bars.shape[2] == 3


def test_from_zero_has_no_relative_change() -> None:
    zero = message({"conv1": [np.zeros((8, 3, 5, 5)), np.zeros(8)]})
    found = compare(zero, message({"conv1": arrays()["conv1"]}))
    change = found.layers[0].change
    assert change is not None
    assert (change.relative, change.cosine, change.others) == (None, None, (None,))
    assert "most first: conv1 from zero" in summary(found)
    assert compare(zero, zero).layers[0].state == "same"


def test_two_layers_of_one_name_are_matched_in_turn() -> None:
    after = arrays()
    after["fc3"][0] = np.random.default_rng(9).normal(size=(20, 60))
    nets = message(arrays()), message(after)
    for net in nets:
        net.layer.add(name="fc3", type="InnerProduct", blobs=[make_blob(np.eye(3))])
    assert [x.state for x in compare(*nets).layers] == ["same", "same", "changed", "same", "same"]


def test_the_prototxt_says_what_the_caffemodel_does_not() -> None:
    net = parse_net(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 dim: 9 dim: 9 } } }'
        'layer { name: "conv2" type: "Convolution" bottom: "data" top: "x" '
        "convolution_param { num_output: 12 kernel_size: 3 group: 2 } }"
    )
    bare = message(arrays())
    for one in bare.layer:
        one.ClearField("type")
        one.ClearField("convolution_param")
    bare.layer[2].blobs[0].CopyFrom(make_blob(np.concatenate([arrays()["conv2"][0][:6]] * 2)))
    assert "conv2 6 (0 and 6" in summary(compare(bare, bare))
    assert "duplicated" not in summary(compare(bare, bare, net))
    with pytest.raises(InputError, match=r"none of the layers of the weights\. There are: conv1"):
        compare(bare, bare, parse_net('layer { name: "x" type: "ReLU" bottom: "a" top: "b" }'))


@pytest.mark.parametrize("name", ["lenet_mnist_v1", "cifar10_quick_v1"])
def test_old_files_equal_new_ones(shared: Path, tmp_path: Path, name: str) -> None:
    """V1 stores an InnerProduct as (1, 1, O, I); written anew with two axes it is the same layer."""
    old = next((shared / "models" / name).glob("*.caffemodel"))
    new = read_weights(old)
    for one in new.layer:
        for blob in one.blobs:
            array = blob_array(blob)
            ones = (
                0 if one.type == "Convolution" and array.ndim == 4 and array.shape[2] > 1 else array.ndim - 1
            )
            axes = next(k for k in range(ones + 1) if k == ones or array.shape[k] > 1)
            blob.CopyFrom(make_blob(array.reshape(array.shape[axes:])))
    write_weights(new, tmp_path / "new.caffemodel")
    found = compare(old, tmp_path / "new.caffemodel")
    assert {x.state for x in found.layers} == {"same"}
    types = {x.name: (x.a.type, x.a.filters) for x in found.layers if x.a}
    assert types["ip2"] == ("InnerProduct", 10)
    assert types["conv1"][0] == "Convolution"


def test_v0_files(tmp_path: Path) -> None:
    old = NetParameter(name="old")
    inner = old.layers.add().layer
    inner.name, inner.type = "fc3", "innerproduct"
    weights = arrays()["fc3"]
    inner.blobs.extend(map(make_blob, [weights[0].reshape(1, 1, 20, 60), weights[1].reshape(1, 1, 1, 20)]))
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    found = compare(tmp_path / "old.caffemodel", message({"fc3": weights}))
    assert [(x.name, x.state) for x in found.layers] == [("fc3", "same")]


def test_duplicated_filters_of_a_trained_network(shared: Path) -> None:
    """SqueezeNet has filters that point the same way, and one that died."""
    path = next((shared / "models" / "squeezenet_v1.0").glob("*.caffemodel"))
    found = compare(path, path)
    told = {x.name: (x.b.dead, x.b.pairs) for x in found.layers if x.b and (x.b.dead or x.b.pairs)}
    assert told == {"fire7/conv1x1_2": ((19,), 13), "fire8/conv1x1_2": ((), 3)}


def test_the_shipped_network_has_no_dead_or_duplicated_filter(networks: Path) -> None:
    path = networks / "caffenet_cifar10" / "caffenet_cifar10.caffemodel"
    assert not [x.name for x in compare(path, path).layers if x.b and (x.b.dead or x.b.pairs)]


def test_a_saved_comparison_is_drawn_again_without_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare_weights(*files)
    found.save(tmp_path / "out")
    for path in files:
        path.unlink()
    again = Compared(Diff.load(tmp_path / "out" / "diff.npz"))
    assert again.diff.layers == found.diff.layers
    assert str(again) == repr(found)
    np.testing.assert_array_equal(again.bars.rgb, found.bars.rgb)
    for kind, name in (("changed", "conv1"), ("duplicates", "conv2")):
        for one, other in zip(again.filters(name, kind), found.filters(name, kind), strict=True):
            np.testing.assert_array_equal(one.rgb, other.rgb)
    written = json.loads((tmp_path / "out" / "diff.json").read_text())
    assert written == json.loads(json.dumps(found.to_json()))


@pytest.mark.parametrize("damage", ["missing", "text", "other npz"])
def test_what_is_no_saved_comparison(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.npz"
    if damage == "text":
        path.write_text("nothing")
    elif damage == "other npz":
        np.savez(path, facts="[]")
    with pytest.raises(InputError, match="not a saved comparison"):
        Diff.load(path)


def test_the_command_says_and_writes(files: tuple[Path, Path], tmp_path: Path) -> None:
    done = command(*files, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    before, after = ({x.name: x for x in read_weights(path).layer} for path in files)
    changes = {}
    for name in ("conv1", "conv2"):
        a, b = (blob_array(x[name].blobs[0]) for x in (before, after))
        changes[name] = f"{name} {np.linalg.norm(b - a) / np.linalg.norm(a):.4g}"
    assert lines[2:6] == [
        "the same: 1 of 5: fc3",
        f"changed: 2 of 5, most first: {changes['conv2']}, {changes['conv1']}",
        "only in A: fc4 (5 20)",
        "only in B: fc5 (7 20)",
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "conv1_changed.png", "conv2_changed.png", "conv2_duplicates_B.png", "diff.json", "diff.npz", "diff.png",
        "fc5_duplicates_B.png",
    ]  # fmt: skip
    made = json.loads(command(*files, "-o", tmp_path / "out", "--layer", "fc5", "--json").stdout)
    assert made["summary"] == lines[: len(made["summary"])]
    assert [x["state"] for x in made["layers"]] == ["changed", "changed", "same", "only in B", "only in A"]
    assert [Path(p).name for p in made["files"][3:]] == ["fc5_duplicates_B.png"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["A.caffemodel", "C.caffemodel"], "no such caffemodel. Did you mean"),
        (["A.caffemodel", "cut.caffemodel"], "cut short"),
        (["page.caffemodel", "A.caffemodel"], "it is a web page"),
        (["A.caffemodel", "B.caffemodel", "--layer", "conv3"], "Did you mean"),
        (["A.caffemodel", "B.caffemodel", "--prototxt", "no.prototxt"], "no such prototxt"),
        (["A.caffemodel", "damaged.caffemodel"], "damaged.caffemodel, layer 'conv1': a blob of shape"),
        (["A.caffemodel", "B.caffemodel", "--preprocess", "no.toml"], "no.toml cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    files: tuple[Path, Path], tmp_path: Path, given: list[str], words: str
) -> None:
    (tmp_path / "cut.caffemodel").write_bytes(files[0].read_bytes()[:-50])
    (tmp_path / "page.caffemodel").write_text("<html></html>")
    damaged = message(arrays())
    damaged.layer[1].blobs[0].shape.dim[0] = 7
    write_weights(damaged, tmp_path / "damaged.caffemodel")
    done = command(*(x if x.startswith("-") or "." not in x else tmp_path / x for x in given), "-o", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_names_of_layers_stay_in_the_folder_and_in_the_text(tmp_path: Path) -> None:
    hostile = ["../../up", "<script>alert(1)</script>", "a/b", "a-b", "\x1b[2J$x_{", "猫\n", "", "x" * 9999]
    before, after = NetParameter(), NetParameter()
    rng = np.random.default_rng(0)
    for name in hostile:
        weights = rng.normal(size=(4, 3, 3, 3))
        before.layer.add(name=name, type="Convolution", blobs=[make_blob(weights)])
        after.layer.add(name=name, type="Convolution", blobs=[make_blob(weights + 0.1)])
    found = compare_weights(before, after, layers=hostile)
    paths = found.save(tmp_path / "in" / "out")
    assert len(set(paths)) == 3 + len(hostile)
    assert {p.parent for p in tmp_path.rglob("*.*")} == {tmp_path / "in" / "out"}
    assert max(map(len, str(found.table).splitlines())) < 250
    assert found.bars.shape[1] < 1200
    assert "\x1b" not in str(found.table) + "".join(found.summary)
    assert "\n" not in "".join(found.summary)
    assert "<script" not in found._repr_html_()
    assert Diff.load(paths[0]).layers == found.diff.layers


def test_a_net_is_compared_with_a_file(networks: Path, engine: str) -> None:
    import caffe_viz as cv

    folder = networks / "caffenet_cifar10"
    files = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    net = cv.load_net(*files, engine=engine)
    net.params["fc7"][0].data[3] *= 2
    found = compare_weights(files[1], net).diff
    assert [x.name for x in found.ranked] == ["fc7"]
    change = layer(found, "fc7").change
    assert change is not None
    assert [x.filter for x in change.filters] == [3]


def test_bars_are_as_long_as_the_changes() -> None:
    picture = change_bars(["a", "b", "c", "d"], [0.5, 0.25, 0.0, None], ["", "x", "", "only in B"])
    blue = np.abs(picture.rgb - np.array([0, 0x72 / 255, 0xB2 / 255])).max(2) < 1e-3
    lengths = [int(row.sum()) for row in blue if row.any()]
    assert sorted(set(lengths)) == [1, 210, 420]
    many = change_bars([str(k) for k in range(200)], [k / 200 for k in range(200)], [""] * 200)
    assert many.shape[0] < 1600
    with pytest.raises(InputError, match="1 names, 2 values"):
        change_bars(["a"], [1, 2], [""])


def test_tiles_show_a_b_and_an_amplified_difference() -> None:
    """A filter of one weight 1 (BGR red), which is 0.9 in B: the difference is -0.1 x 10, so black."""
    a = np.zeros((1, 3, 2, 2))
    a[0, 2, 0, 0] = 1
    picture = filters_beside(a, a * 0.9, ["0"])
    colours = {tuple(np.round(x, 2)) for x in picture.rgb.reshape(-1, 3).astype(float)}
    assert {(1.0, 0.5, 0.5), (0.95, 0.5, 0.5), (0.0, 0.5, 0.5)} <= colours
    swapped = filters_beside(a, a * 0.9, ["0"], channel_order="RGB")
    assert (0.5, 0.5, 1.0) in {tuple(np.round(x, 2)) for x in swapped.rgb.reshape(-1, 3).astype(float)}


@pytest.mark.parametrize(
    "shape", [(9, 40, 3, 3), (2, 7, 1, 5), (5, 64, 1, 1), (3, 1000), (1, 1, 11, 11), (4, 1)]
)
def test_filters_of_any_shape_are_drawn(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape)
    picture = filters_beside(a, a + 0.01 * rng.normal(size=shape), [str(k) for k in range(len(a))])
    assert max(picture.shape) < 1400
    with pytest.raises(InputError, match="both expected"):
        filters_beside(a, a[:0], [])


def test_two_blobs_are_in_memory_at_a_time(tmp_path: Path) -> None:
    """Ten layers of 16 MB in each file take 32 MB and what is looked at, not 320."""
    code = """
import resource, sys
from caffe_viz.comparing import compare
from caffe_viz.views import compared
compare(sys.argv[1], sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
compare(sys.argv[2], sys.argv[3])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    rng = np.random.default_rng(0)
    for name, layers, size in (("small", 1, (10, 10)), ("a", 10, (250, 16000)), ("b", 10, (250, 16000))):
        net, blob = NetParameter(), make_blob(rng.normal(size=size))
        for k in range(layers):
            net.layer.add(name=str(k), type="InnerProduct", blobs=[blob])
        write_weights(net, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", code, *(tmp_path / x for x in ("small", "a", "b"))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 130
