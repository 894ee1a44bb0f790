"""LSTMs of forks, Reverse, Transpose, ContinuationIndicator, CTC: their definitions as loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge


def steps(x: Array, marks: Array | None, params: Sequence[Array]) -> Array:
    """(T, N, I) and marks (T, N) -> (T, N, D), one step of one stream at a time."""
    inner, outer, bias = params[:3]
    size = outer.shape[1]
    out = np.zeros((*x.shape[:2], size))
    for n in range(x.shape[1]):
        hidden, cell = np.zeros(size), np.zeros(size)
        for t in range(len(x)):
            goes_on = t > 0 if marks is None else marks[t, n] != 0
            gates = inner @ x[t, n] + bias + (outer @ hidden if goes_on else 0)
            take, keep, give = (1 / (1 + np.exp(-gates[i * size : (i + 1) * size])) for i in range(3))
            cell = (keep * cell if goes_on else 0) + take * np.tanh(gates[3 * size :])
            hidden = give * np.tanh(cell)
            out[t, n] = hidden
    return out


def streamed(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """(T, N, ...): CTPN."""
    x = bottoms[0].reshape(*bottoms[0].shape[:2], -1)
    marks = bottoms[1].reshape(x.shape[:2]) if len(bottoms) > 1 else None
    out = steps(x, marks, params)
    return out if len(params) == 3 else out @ params[3] + params[4]


def flat(streams: int) -> Judge:
    """(T N, ...): caffe-lstm."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        count = len(bottoms[0])
        shape = count // streams, streams
        marks = bottoms[1].reshape(shape) if len(bottoms) > 1 else None
        return steps(bottoms[0].reshape(*shape, -1), marks, params).reshape(count, -1)

    return judge


def named(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """MyCaffe's: parameters in real Caffe's order."""
    return steps(bottoms[0], bottoms[1], [params[0], params[2], params[1]])


def turned(*axes: int) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        x = bottoms[0]
        out = np.zeros_like(x)
        for place in np.ndindex(*x.shape):
            mirror = [x.shape[i] - 1 - p if i in axes else p for i, p in enumerate(place)]
            out[tuple(mirror)] = x[place]
        return out

    return judge


def swapped(*order: int) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        x = bottoms[0]
        out = np.zeros([x.shape[axis] for axis in order])
        for place in np.ndindex(*x.shape):
            out[tuple(place[axis] for axis in order)] = x[place]
        return out

    return judge


def begins(time: int, streams: int) -> Judge:
    return lambda bottoms, params: np.array([[t > 0] * streams for t in range(time)], float)


def best(scores: Array, marks: Array | None, blank: int, merge: bool = True) -> tuple[list[list[int]], Array]:
    """The labels of each stream, and the sums of their scores, negated."""
    found, sums = [], np.zeros(scores.shape[1])
    for n in range(scores.shape[1]):
        labels, before = [], -1
        for t in range(len(scores)):
            if marks is not None and t and marks[t, n] == 0:
                break
            label = int(np.argmax(scores[t, n]))
            sums[n] -= scores[t, n, label]
            if label != blank and not (merge and label == before):
                labels.append(label)
            before = label
        found.append(labels)
    return found, sums.reshape(-1, 1, 1, 1)


def filled(found: list[list[int]], length: int) -> Array:
    rows = [[*labels, *[-1] * (length - len(labels))] for labels in found]
    return np.array(rows, float).reshape(len(rows), length, 1, 1)


def decodes(blank: int, merge: bool = True, scored: bool = False) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        marks = bottoms[1].reshape(bottoms[0].shape[:2]) if len(bottoms) > 1 else None
        found, sums = best(bottoms[0].reshape(*bottoms[0].shape[:3]), marks, blank, merge)
        return [filled(found, len(bottoms[0])), sums][: 1 + scored]

    return judge


def distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Edits from a to b, by the definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0])
    )  # fmt: skip


def near(found: list[list[int]], wanted: list[list[int]]) -> list[float]:
    pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if a or b]
    gaps = [distance(a, b) / max(len(a), len(b)) for a, b in pairs]
    return [1 - sum(gaps) / len(found), sum(a == b for a, b in pairs) / len(found)]


def judged(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    """Labels (T, N) that end at a negative one; sequences, scores, accuracy."""
    scores, marks, labels = bottoms
    found, sums = best(scores, marks, scores.shape[2] - 1)
    wanted = [[int(x) for x in itertools.takewhile(lambda x: x >= 0, row)] for row in labels.T]
    return [filled(found, len(scores)), sums, np.full((1, 1, 1, 1), near(found, wanted)[0])]


def rated(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """Labels (N, L) with blanks of 0."""
    found, _ = best(bottoms[0], None, 0)
    wanted = [[int(x) for x in itertools.takewhile(lambda x: x >= 0, row) if x] for row in bottoms[1]]
    return np.array(near(found, wanted)).reshape(1, 2, 1, 1)


def chance(scores: Array, labels: list[int], blank: int) -> float:
    """-log of the sum over all paths (C to the T of them) that read as `labels`."""
    likely = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        read = [label for label, _ in itertools.groupby(path) if label != blank]
        if read == labels:
            total += math.prod(likely[t, label] for t, label in enumerate(path))
    return -math.log(total)


def loss_of_rows(blank: int) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        scores, labels = bottoms[0], bottoms[1].reshape(len(bottoms[1]), -1)
        rows = [[int(x) for x in row if x >= 0 and x != blank] for row in labels]
        return np.array(sum(chance(scores[:, n], row, blank) for n, row in enumerate(rows)) / len(rows))

    return judge


def loss_of_marked(blank: int) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        scores, marks, labels = bottoms
        total = 0.0
        for n in range(scores.shape[1]):
            ends = [t for t in range(1, len(scores)) if marks[t, n] == 0]
            row = [int(x) for x in itertools.takewhile(lambda x: x >= 0, labels[:, n])]
            total += chance(scores[: (ends or [len(scores)])[0], n], row, blank) if row else 0
        return np.array(total / scores.shape[1])

    return judge


SIZE = "num_output: 3"
MARKS = np.array([[0, 0], [1, 1], [1, 0], [0, 1], [1, 1]])
ENDS = np.array([[0, 0], [1, 1], [1, 1], [0, 1], [1, 1]])
LABELS = np.array([[0, 2], [1, -1], [-1, -1], [-1, -1], [-1, -1]])
EMPTY = np.array([[0, -1], [1, -1], [-1, -1], [-1, -1], [-1, -1]])
STOPS = np.array([[0, 0], [1, 0], [1, 0], [1, 0], [0, 0]])
REPEATS = np.random.default_rng(5).normal(size=(12, 3, 3))
ROWS = np.array([[1, 2, 1, 0, 0], [0, 2, 0, -1, 1], [2, 2, 1, 2, 1]])
NARROW = "lstm_param { num_output: 3 batch_size: 2 }"


def _lstm(judge: Judge, shapes: list[str], settings: str, kind: str = "Lstm") -> ForkCase:
    marks = {"b": MARKS.reshape([int(d) for d in shapes[1].split()])} if len(shapes) > 1 else {}
    return ForkCase(Toy(kind, shapes, settings), judge, marks)


def _ctc(shapes: list[str], settings: str, judge: Judge, tops: int = 1, **inputs: Array) -> ForkCase:
    return ForkCase(Toy("CTCGreedyDecoder", shapes, settings, tops), judge, inputs, gradient="")


CASES = [
    _lstm(streamed, ["5 2 4"], f"lstm_param {{ {SIZE} }}"),
    _lstm(streamed, ["5 1 4"], f"lstm_param {{ {SIZE} }}"),
    _lstm(streamed, ["1 3 2"], f"lstm_param {{ {SIZE} clipping_threshold: 0.001 }}"),
    _lstm(streamed, ["5 2 4", "10"], f"lstm_param {{ {SIZE} }}"),
    _lstm(streamed, ["5 2 4", "5 2"], f"lstm_param {{ {SIZE} }}"),
    _lstm(streamed, ["5 2 2 2"], f'lstm_param {{ {SIZE} }} variant: "CTPN"'),
    _lstm(streamed, ["5 2 2 3"], f"lstm_param {{ {SIZE} }} trained {{ dim: 12 dim: 6 }}"),
    _lstm(flat(1), ["5 4"], f"lstm_param {{ {SIZE} }}"),
    _lstm(flat(1), ["5 2 3 1"], f"lstm_param {{ {SIZE} }}"),
    _lstm(flat(1), ["5 2 3"], f"lstm_param {{ {SIZE} }} trained {{ dim: 1 dim: 4 dim: 3 dim: 6 }}"),
    _lstm(flat(2), ["10 4"], NARROW),
    _lstm(flat(2), ["10 2 2"], NARROW),
    _lstm(flat(2), ["10 4", "10 1"], NARROW),
    _lstm(flat(2), ["10 2 3", "10"], f"lstm_simple_param {{ {SIZE} batch_size: 2 }}", "LstmSimple"),
    _lstm(streamed, ["5 2 4", "5 2"], f"lstm_attention_param {{ {SIZE} }}", "LstmAttention"),
    _lstm(streamed, ["5 2 4"], f"lstm_attention_param {{ {SIZE} num_output_ip: 2 }}", "LstmAttention"),
    _lstm(named, ["5 2 4", "5 2"], f"recurrent_param {{ {SIZE} }}"),
    ForkCase(Toy("Reverse", ["3 2 4"]), turned(0)),
    ForkCase(Toy("Reverse", ["3 2 4"], "reverse_param { axis: 0 }"), turned(0)),
    ForkCase(Toy("Reverse", ["3 2 4 5"], "reverse_param { axis: 2 }"), turned(2)),
    ForkCase(Toy("Reverse", ["3 2 4 5"], "reverse_param { axis: -1 axis: 1 }"), turned(3, 1)),
    ForkCase(Toy("Transpose", ["2 3 4 5"], "transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }"), swapped(3, 2, 0, 1)),
    ForkCase(Toy("Transpose", ["2 3 4"], "transpose_param { dim: 1 dim: 0 dim: 2 }"), swapped(1, 0, 2)),
    *[
        ForkCase(Toy("ContinuationIndicator", shapes, f"continuation_indicator_param {{ {s} }}"), begins(4, 3), gradient="")
        for shapes, s in (([], "time_step: 4 batch_size: 3"), (["3 2"], "time_step: 4"))
    ],
    _ctc(["12 3 3"], "", decodes(0), a=REPEATS),
    _ctc(["12 3 3 1"], "ctc_decoder_param { blank_index: -1 }", decodes(2), a=REPEATS[..., None]),
    _ctc(["12 3 3"], "ctc_decoder_param { blank_index: 1 ctc_merge_repeated: false }", decodes(1, False), a=REPEATS),
    _ctc(["5 2 4", "5 2"], "", decodes(3), b=ENDS),
    _ctc(["5 2 4", "5 2"], "", decodes(3, scored=True), 2, b=ENDS),
    _ctc(["5 2 3", "5 2", "5 2"], "", judged, 3, b=ENDS, c=LABELS),
    _ctc(["5 2 3", "5 2", "5 2"], "", lambda b, p: judged(b, p)[::2], 2, b=ENDS, c=LABELS),
    _ctc(["12 3 3", "3 5"], "", rated, a=REPEATS, b=ROWS),
    _ctc(["2 3 3", "3 5"], "", rated, a=REPEATS[:2], b=ROWS),
    _ctc(["12 3 3", "3 2"], "", rated, a=REPEATS, b=np.array([x[:2] for x in best(REPEATS, None, 0)[0]])),
    *[
        ForkCase(Toy(kind, ["5 3 3", shape], settings), loss_of_rows(blank), {"b": ROWS[:, :3].reshape(3, 3)})
        for kind, settings, blank, shape in (
            ("CtcLoss", "ctc_loss_param { alphabet_size: 3 time_step: 5 }", 0, "3 3"),
            ("WarpCTCLoss", "", 0, "3 3"),
            ("CtcLoss", "ctc_loss_param { blank_label: 2 }", 2, "3 3"),
        )
    ],
    *[
        ForkCase(Toy("CTCLoss", ["5 2 3", "5 2", "5 2"], settings), loss_of_marked(blank), {"b": b, "c": c})
        for settings, blank, b, c in (
            ("", 2, ENDS, np.where(LABELS == 2, 1, LABELS)),
            ("ctc_loss_param { blank_index: 2 }", 2, STOPS, EMPTY),
        )
    ],
]  # fmt: skip
