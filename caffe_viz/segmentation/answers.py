"""Which blob of a net classifies pixels, and what its values mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from caffe_viz.answers import ends
from caffe_viz.detection.yolo import yolo_grids
from caffe_viz.errors import InputError
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.network import Network
from caffe_viz.one_by_one import ends_in_words

# Layers of one answer per pixel that leave its values what they are, but for their places.
KEEPING = frozenset(
    {
        "BilinearInterpolation", "Crop", "Dropout", "Interp", "Permute", "Reshape", "ResizeBilinear",
        "ResizeNearestNeighbor", "Split", "Upsample",
    }
)  # fmt: skip


class Meaning(Enum):
    """What the channels of an answer are."""

    SCORES = "a value for each class: the highest is the pixel's"
    MASKS = "a sigmoid for each class: the highest is the pixel's, if it is above 0.5"
    NUMBERS = "the number of the class"


@dataclass(frozen=True)
class Dense:
    """A blob (N, C, H, W) that gives the class of each pixel, out of `classes`.

    A mask of one channel has two: outside and inside.
    """

    blob: str
    shape: Shape
    meaning: Meaning
    classes: int

    @property
    def one_mask(self) -> bool:
        """Whether it is a mask of one channel."""
        return self.meaning is Meaning.MASKS and self.shape[1] == 1


def dense_answers(network: Network) -> list[Dense]:
    """Return the blobs in which a net ends and that classify pixels, the best candidate last.

    Tops of Softmax, Sigmoid or ArgMax layers come after others, larger blobs after smaller ones. YOLO's grids
    do not count.
    """
    grids = yolo_grids(network)
    others = [blob for blob in ends(network.message) if grids is None or blob not in grids.blobs]
    found = [one for blob in others if (one := _dense(network, blob)) is not None]
    return sorted(
        found, key=lambda one: (_final(network.message, one.blob) != "", one.shape[2] * one.shape[3])
    )


def dense_answer(network: Network, blob: str | None = None) -> Dense:
    """Return the best candidate of `dense_answers`, or `blob`.

    Raises:
        InputError: There is none, or no such blob, or it does not classify pixels.
    """
    if blob is not None:
        shape, one = network.geometry.blob(blob), _dense(network, blob)
        if one is None:
            raise InputError(f"blob {blob!r} of {shape} has no class for each pixel: {_EXPECTED}.")
        return one
    found = dense_answers(network)
    if not found:
        raise InputError(
            f"net {network.message.name!r} ends in {ends_in_words(network)}, which is not a class for each "
            f"pixel: {_EXPECTED}. --blob names another blob."
        )
    return found[-1]


_EXPECTED = (
    "expected (N, K, H, W), a score, a Softmax or a Sigmoid for each of K classes, or (N, 1, H, W) of a "
    "Sigmoid or an ArgMax"
)


def _dense(network: Network, blob: str) -> Dense | None:
    shape, made = network.geometry.blobs.get(blob, ()), _origin(network.message, blob)
    if len(shape) != 4 or shape[2] * shape[3] < 2 or made is None or not made.bottom or made.type == "Region":
        return None
    final, channels = _final(network.message, blob), shape[1]
    if final == "Sigmoid":
        return Dense(blob, shape, Meaning.MASKS, max(channels, 2))
    if channels > 1:
        return Dense(blob, shape, Meaning.SCORES, channels)
    if final == "ArgMax":
        return Dense(blob, shape, Meaning.NUMBERS, _before(network, blob, "ArgMax"))
    return None


def _final(net: NetParameter, blob: str) -> str:
    """Softmax, Sigmoid or ArgMax, if such a layer made the values of a blob; else ""."""
    made = _origin(net, blob)
    return made.type if made is not None and made.type in ("ArgMax", "Sigmoid", "Softmax") else ""


def _origin(net: NetParameter, blob: str) -> LayerParameter | None:
    """The layer that made the values of a blob, which later ones may have moved."""
    for layer in reversed(net.layer):
        if blob in layer.top:
            if layer.type not in KEEPING or not layer.bottom:
                return layer
            blob = layer.bottom[0]
    return None


def _before(network: Network, blob: str, kind: str) -> int:
    """Channels of what the layer takes that made the values of a blob."""
    made = _origin(network.message, blob)
    assert made is not None
    assert made.type == kind
    return network.geometry.blob(made.bottom[0])[1]
