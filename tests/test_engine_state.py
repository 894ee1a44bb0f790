"""What layers keep from one pass to the next, on both engines: states, statistics, memory that is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_viz.parity import LIMIT, apart

pytest.importorskip("torch")

from caffe_viz.engine import Net

Play = Callable[[Any], Iterator[np.ndarray]]


def image(*dims: int, name: str = "a") -> str:
    shape = " ".join(f"dim: {d}" for d in dims)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'


def layer(kind: str, bottoms: str, top: str, settings: str = "") -> str:
    names = " ".join(f'bottom: "{b}"' for b in bottoms)
    return f'layer {{ name: "{top}" type: "{kind}" {names} top: "{top}" {settings} }}\n'


def recurrent(kind: str) -> str:
    sizes = image(3, 2, 4), image(3, 2, name="m")
    return (
        "force_backward: true\n"
        + "".join(sizes)
        + layer(kind, "am", "h", "recurrent_param { num_output: 5 }")
    )


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def seeds_in_turn(net: Any) -> Iterator[np.ndarray]:
    """Two backwards after one forward, the second seed written over the first."""
    net.forward()
    seed = net.blobs["h"].diff
    for turn in (1, 2):
        seed[...] = noise(seed.shape, turn)
        net.backward()
        yield from (net.blobs["a"].diff, *(blob.diff for blob in net.params["h"]))


def output_overwritten(net: Any) -> Iterator[np.ndarray]:
    """The state is not the output's memory."""
    net.forward()
    net.blobs["h"].data[...] = 0
    yield net.forward()["h"]


def output_overwritten_beside_states(net: Any) -> Iterator[np.ndarray]:
    """Exposed states are not the output's memory either."""
    net.forward()
    net.blobs["h"].data[...] = 0
    yield from (net.blobs[name].data for name in "uv")


def fewer_streams(net: Any) -> Iterator[np.ndarray]:
    """A state of other shapes: what there was room for stays."""
    yield net.forward()["h"].copy()
    for streams in (1, 2, 3):
        net.blobs["a"].reshape(3, streams, 4)
        net.blobs["m"].reshape(3, streams)
        net.blobs["a"].data[...] = noise((3, streams, 4), streams)
        net.blobs["m"].data[...] = 1
        yield net.forward()["h"].copy()


def statistics_held(net: Any) -> Iterator[np.ndarray]:
    """Arrays taken once see the statistics that further forwards leave, and what is written into them counts."""
    held = [blob.data for blob in net.params["b"]]
    for _ in range(3):
        net.forward()
        yield from (array.copy() for array in held)
    held[0][...] = 3
    yield net.forward()["b"].copy()
    yield from held


def overwritten_behind(net: Any) -> Iterator[np.ndarray]:
    """A layer in place, behind one whose top is its bottom's memory, overwrites that too."""
    net.forward()
    net.blobs["p"].diff[...] = noise((2, 3), 1)
    net.backward()
    yield from (net.blobs[name].data for name in "atp")
    yield from (net.blobs[name].diff for name in "atp")


def seed_written_again(net: Any) -> Iterator[np.ndarray]:
    """Gradients of parameters are those of the backward that was, read late or not."""
    net.forward()
    net.blobs["a"].diff[...] = noise((2, 3), 1)
    net.backward()
    net.blobs["a"].diff[...] = noise((2, 3), 2)
    yield from (blob.diff for some in net.params.values() for blob in some)


def seed_of_nobody(net: Any) -> Iterator[np.ndarray]:
    """Where nothing learns, a seed goes nowhere."""
    net.forward()
    net.blobs["p"].diff[...] = 1
    net.backward()
    yield net.blobs["a"].diff


def unasked(net: Any) -> Iterator[np.ndarray]:
    """Some layers compute all their gradients when they go backward at all."""
    net.forward()
    net.backward()
    yield net.blobs["a"].diff
    yield from (blob.diff for some in net.params.values() for blob in some)


LOSS = layer("Reduction", "h", "l", "reduction_param { operation: SUMSQ } loss_weight: 1")
FROZEN = "param { lr_mult: 1 } param { lr_mult: 0 } "
BIASES = "".join(f'layer {{ name: "{x}" type: "Bias" bottom: "a" top: "a" }}\n' for x in "xy")
ALIASED = "force_backward: true\n" + image(2, 3) + layer("TanH", "a", "t")
IN_PLACE = 'layer { name: "r" type: "ReLU" bottom: "p" top: "p" }'
EXPOSED = recurrent("LSTM").replace("num_output: 5", "num_output: 5 expose_hidden: true")
EXPOSED = EXPOSED.replace(
    'bottom: "m" top: "h"', 'bottom: "m" bottom: "s" bottom: "c" top: "h" top: "u" top: "v"'
)
PLAYS: list[tuple[Play, str, int]] = [
    *[(play, recurrent(kind), 1) for kind in ("LSTM", "RNN") for play in (seeds_in_turn, output_overwritten, fewer_streams)],
    (output_overwritten_beside_states, image(1, 2, 5, name="s") + image(1, 2, 5, name="c") + EXPOSED, 1),
    *[(unasked, recurrent(kind).replace("force_backward: true", "").replace('top: "h"', f'top: "h" {FROZEN}') + LOSS, 1) for kind in ("LSTM", "RNN")],
    (unasked, image(4, 3, 2, 2) + layer("BatchNorm", "a", "h") + LOSS, 1),
    (seed_written_again, "force_backward: true\n" + image(2, 3) + BIASES, 1),
    (seed_of_nobody, image(2, 3) + layer("Flatten", "a", "p"), 1),
    (seed_of_nobody, image(2, 3) + layer("Permute", "a", "p"), 1),
    (seed_of_nobody, image(2, 3) + layer("Reshape", "a", "p", "reshape_param { shape { dim: 3 dim: 2 } }"), 1),
    (statistics_held, image(4, 3, 2, 2) + layer("BatchNorm", "a", "b"), 0),
    (overwritten_behind, ALIASED + layer("Permute", "t", "p", "permute_param { order: 0 }") + IN_PLACE, 1),
    (overwritten_behind, ALIASED + layer("Reshape", "t", "p", "reshape_param { shape { dim: 0 dim: 0 } }") + IN_PLACE, 1),
]  # fmt: skip


@pytest.mark.parametrize(("play", "prototxt", "phase"), PLAYS, ids=lambda x: getattr(x, "__name__", ""))
def test_the_engines_agree(caffe: Any, tmp_path: Path, play: Play, prototxt: str, phase: int) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(prototxt)
    theirs, mine = (prepared(make(str(path), phase)) for make in (caffe.Net, Net))
    pairs = zip(played(play, theirs), played(play, mine), strict=True)
    assert [worst for worst in (apart(a, b) for a, b in pairs) if not worst <= LIMIT] == []


def prepared(net: Any) -> Any:
    for i, blob in enumerate([*net.blobs.values(), *(b for some in net.params.values() for b in some)]):
        blob.data[...] = noise(blob.data.shape, i)
    if "m" in net.blobs:
        net.blobs["m"].data[...] = [[0, 1], [1, 1], [1, 0]]
    return net


def played(play: Play, net: Any) -> list[np.ndarray]:
    return [np.array(values) for values in play(net)]
