"""How many images a net can take at once so that each gets the same answer as alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, LayerGeometry, measure, own_layers
from caffe_viz.geometry.batch_dependent import RECURRENT, mixes
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.surgery.inputs import Array, Shape, input_shapes, with_batch


@dataclass(frozen=True)
class BatchLayout:
    """Each image takes `rows` of the first axis of its input; `images` of them go in at once.

    `rows` is 1, except in nets that compute one answer from several rows: from a sequence, whose first axis
    is time, or from a batch that a Reshape or Slice with fixed sizes puts together.
    """

    rows: int
    images: int

    @property
    def axis(self) -> int:
        """The size of the input's first axis."""
        return self.rows * self.images

    def shape(self, blob: Shape) -> Shape:
        """Return the shape of one image's part of a blob, as `apart` returns it."""
        return tuple(blob[axis] for axis in self.order(blob)) if self._whole(blob) else blob[1:]

    def apart(self, blob: Array) -> Array:
        """Split a blob by image, (N, ...), channels first.

        With several rows it is (N, C, rows, ...), like a volume. A blob of three axes is then a sequence,
        (steps, streams, channels).
        """
        if not blob.ndim:
            return blob.reshape(1)
        if not self._whole(blob.shape):
            return blob
        return np.asarray(blob.transpose(self.order(blob.shape))[None])

    def together(self, images: Array, blob: Shape) -> Array:
        """Invert `apart`, for a blob of that shape; rows without an image are 0."""
        if not blob:
            return images.reshape(())
        if not self._whole(blob):
            out = np.zeros(blob, np.float32)
            out[: len(images)] = images
            return out
        return np.asarray(images[0].transpose(np.argsort(self.order(blob))))

    def _whole(self, blob: Shape) -> bool:
        """Whether all rows of a blob belong to one image: time steps, regions, or rows of the input."""
        return self.images == 1 and bool(blob) and blob[0] != 1

    def order(self, blob: Shape) -> tuple[int, ...]:
        """Return the order of a blob's axes for an image of several rows, channels first."""
        axes = tuple(range(len(blob)))
        if len(blob) < 2:
            return axes
        channels = 2 if len(blob) == 3 else 1
        return (channels, *(axis for axis in axes if axis != channels))


def batch_layout_for(net: NetParameter, image: str, wanted: int = 1) -> BatchLayout:
    """Return how many images the input `image` of `net` takes at once: `wanted`, if the net allows that.

    It does if everything computed from the image keeps the batch as its first axis, no layer mixes the images
    of a batch, and all parameters keep their shapes. Otherwise images go in one by one, or, if Reshape and
    Slice layers fit no other batch, as many as the file says.

    Raises:
        InputError: The net does not even take the batch in its file.
    """
    own = input_shapes(net.layer)[image][:1]
    if not own or own == (wanted,) == (1,):
        return BatchLayout(1, 1)
    as_given = _Batch(net, image, measure(net), *own)
    if as_given.size > 1 and as_given.is_time:
        return BatchLayout(as_given.size, 1)
    for size in dict.fromkeys((wanted, 1)):
        try:
            batch = _Batch(net, image, measure(with_batch(net, size)), size)
        except InputError:  # such as a Reshape to fixed sizes
            continue
        if batch.like(as_given) and (size == 1 or batch.independent):
            return BatchLayout(1, size)
    return BatchLayout(1, as_given.size) if as_given.independent else BatchLayout(as_given.size, 1)


class _Batch:
    """A net measured with a batch of `size`: which of its blobs depend on the image, and how."""

    def __init__(self, net: NetParameter, image: str, geometry: Geometry, size: int) -> None:
        self.size = size
        self._params = [layer.param_shapes for layer in geometry.layers]
        seen, self._layers = {image}, list[tuple[LayerParameter, LayerGeometry]]()
        for layer, measured in zip(net.layer, own_layers(net, geometry), strict=True):
            if not seen.isdisjoint(layer.bottom):
                seen.update(layer.top)
                self._layers.append((layer, measured))

    @property
    def _tops(self) -> list[Shape | None]:
        return [shape for _, measured in self._layers for shape in measured.top_shapes]

    def like(self, given: _Batch) -> bool:
        """Whether only the size of the batch differs."""
        if self._params != given._params:
            return False
        for shape, was in zip(self._tops, given._tops, strict=True):
            if shape is None or was is None:
                if shape != was:
                    return False
            elif shape[1:] != was[1:] or (was[:1] == (given.size,) and shape[:1] != (self.size,)):
                return False
        return True

    @property
    def independent(self) -> bool:
        """Whether each row of all tops depends on the same row of the image only."""
        rows = all(shape is not None and shape[:1] == (self.size,) for shape in self._tops)
        return rows and not any(
            mixes(layer, measured.bottom_shapes[0] or ()) for layer, measured in self._layers
        )

    @property
    def is_time(self) -> bool:
        """Whether a recurrent layer takes the rows of the image as its steps."""
        return any(
            layer.type in RECURRENT and (measured.bottom_shapes[0] or ())[:1] == (self.size,)
            for layer, measured in self._layers
        )
