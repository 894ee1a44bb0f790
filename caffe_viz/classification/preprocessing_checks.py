"""Signs of a wrong mean, channel order or scale. Each is one sentence; no sign proves nothing.

The limits were set by experiment, on two networks for CIFAR-10, LeNet and SqueezeNet, each with its own
images and with others: as trained, none of them triggers a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from caffe_viz.images import Preprocess
from caffe_viz.network import Network

Array = NDArray[np.float32]

# Layers that bring pixels to their range inside the net, so that nothing need be subtracted before it.
NORMALISING = frozenset({"BatchNorm", "Bias", "MVN", "Power", "Scale"})
FLAT = 2.0  # deviation of an image's pixels, in 255ths: with less there is nothing to see
# Half the L1 distance of two probability vectors: right inputs move the answer from that to a blank image
# by 0.4 or more; inputs of a 64th or a 255th of their size by 0.08 at most.
STILL, MOVED = 0.1, 0.2
AMPLIFIED = 128
# Deviation of the scores before the Softmax: 1 to 15 for right inputs, mostly 44 to 1700 for 64 or 255 times
# them. A net trained with batch normalisation can stay at 15 for 64 times them, which goes unnoticed.
LOUD = 30.0
SURER, CHANCE = 0.8, 4.0  # entropy of the answer, and t of a paired test, that another order must reach


def check_settings(network: Network, *classes: int) -> Iterator[str]:
    """Report contradictions in the settings."""
    given, shape, labels = network.preprocess, network.shape, network.labels
    if labels and not any(labels.of(count) for count in classes):
        counts = " and ".join(map(str, classes))
        yield f"labels names {len(labels)} classes, the net has {counts}: none is shown"
    if network.pictures is None:
        return
    mean, most = _numbers(given.mean.average), np.abs(given.mean.values).max()
    if 0 < most <= 1:
        yield f"mean is {mean}: it is subtracted from pixels of 0..255, so give 255 times it"
    if most > 255:
        yield f"mean is {mean}: it is subtracted from pixels of 0..255, but is brighter than white"
    if abs(given.scale) > 4:
        yield f"scale is {given.scale:g}: it multiplies pixels of 0..255, not of 0..1"
    yield from _mean(network, given)
    if given.resize is not None and shape[-2] * shape[-1] < given.resize**2 / 2:
        share = 100 * shape[-2] * shape[-1] / given.resize**2
        yield (
            f"resize is {given.resize}, so the net sees {share:.0f} % of an image, its centre; "
            f"resize = false shows it all"
        )


def _mean(network: Network, given: Preprocess) -> Iterator[str]:
    if given.channels != 3:
        return
    mean = np.broadcast_to(given.mean.average, (3,))
    red, blue = (mean[given.channel_order.index(letter)] for letter in "RB")
    if red < blue - 5:
        yield (
            f"mean is {_numbers(given.mean.average)} for {given.channel_order}: red is brighter than blue in "
            f"photographs, so the mean may be in the other order"
        )
    first = next((x.type for x in network.message.layer if network.data in x.bottom), "")
    if not mean.any() and abs(given.scale) > 0.5 and first not in NORMALISING:
        yield "no mean is subtracted and the input is 0..255; few networks were trained that way"


def check_input(
    scores: Callable[[Array], Array], pixels: Array, scale: float, *, orders: bool
) -> Iterator[str]:
    """Report what the scores (n, K) before the Softmax say about the inputs `pixels` (n, C, H, W).

    With `orders`, the reverse channel order is tried too; this needs enough images for a test.
    """
    deviation = float(np.median(pixels.std(axis=(-2, -1)).mean(axis=-1))) / abs(scale)
    if deviation < FLAT:
        if deviation > FLAT / 1000:  # one colour all over has no deviation but for rounding
            span = f"{pixels.min():.3g} to {pixels.max():.3g}"
            yield f"the images are almost blank: the input is {span}; is it 0..1 where 0..255 is wanted?"
        return
    given = _flat(scores(pixels))
    loud = float(np.median(given.std(axis=1)))
    if loud > LOUD:
        yield f"the scores deviate by {loud:.0f}, where 1 to 15 is usual: the input's scale seems too large"
    elif _weak(scores, given, pixels):
        yield "the answer hardly differs from that to a blank image: the input's scale seems too small"
    elif orders and pixels.shape[1] == 3:
        before, after = _entropy(given), _entropy(_flat(scores(pixels[:, ::-1])))
        gain = before - after
        surer = after.mean() < SURER * before.mean()
        if surer and gain.mean() > CHANCE * gain.std(ddof=1) / np.sqrt(len(gain)):
            yield "the net is clearly more confident with red and blue swapped: the channel order seems wrong"


def _weak(scores: Callable[[Array], Array], given: Array, pixels: Array) -> bool:
    """Whether the answer is that to a blank image, and would be sound to an amplified input.

    A net that is always sure of one class also answers as to a blank image, but gets loud when amplified.
    """
    blank = _softmax(_flat(scores(np.zeros_like(pixels[:1]))))
    if _distance(_softmax(given), blank) >= STILL:
        return False
    amplified = _flat(scores(pixels * np.float32(AMPLIFIED)))
    return _distance(_softmax(amplified), blank) > MOVED and float(np.median(amplified.std(axis=1))) < LOUD


def _flat(values: Array) -> Array:
    return values.reshape(len(values), -1).astype(np.float64)


def _softmax(scores: Array) -> Array:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _distance(a: Array, b: Array) -> float:
    return float(np.median(np.abs(a - b).sum(axis=1) / 2))


def _entropy(scores: Array) -> Array:
    p = _softmax(scores)
    return np.asarray(-(p * np.log(np.maximum(p, 1e-30))).sum(axis=1))


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
