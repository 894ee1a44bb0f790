"""Choose how to draw a layer's weights: kernels, maps that a fully connected layer reads, or a matrix."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_viz import figures
from caffe_viz.comparing.filters import StoredFilters, as_filters, as_seen
from caffe_viz.errors import InputError
from caffe_viz.figures import Picture
from caffe_viz.network import Array

CONVOLUTIONS = ("Convolution", "Deconvolution", "")  # of any number of axes; a running net tells no types
FACTORS = frozenset({"Bias", "Scale"})  # whose axes are those of a blob, without outputs
# What to call a row and a column of a matrix; other layers have units and inputs.
ROWS = {"Embed": ("word", "output"), "LSTM": ("gate", "input"), "PSLSTM": ("gate", "input")}


def draw_weights(stored: StoredFilters, channel_order: str, filters: Sequence[int] | None = None) -> Picture:
    """The first blob of a layer as one picture; `filters` are numbers of outputs, None: all.

    Raises:
        InputError: no such filter, or the layer has one value for each channel.
    """
    name, kind = stored.layer.name, stored.message.type
    array = outputs(stored)
    numbers = list(range(len(array)) if filters is None else filters)
    for number in numbers:
        if not 0 <= number < len(array):
            raise InputError(f"layer {name!r} has filters 0 to {len(array) - 1}, not {number}.")
    array = array[numbers]
    if array.ndim == 2:
        row, column = ROWS.get(kind, ("unit", "input"))
        return figures.matrix(array, rows=row, columns=column, numbers=numbers)
    unit = "filter" if has_kernels(stored) else "channel" if kind in FACTORS else "unit"
    return figures.kernel_tiles(array, channel_order=channel_order, filters=numbers, unit=unit)


def outputs(stored: StoredFilters) -> Array:
    """(O, I, ..) of kernels, (O, C, H, W) or others of the axes that each unit sees, or a matrix (O, I).

    Raises:
        InputError: the layer has one value for each channel; or the file is damaged.
    """
    array = stored.values(0)
    found = as_filters(array, stored)
    if found is None:
        raise InputError(
            f"layer {stored.layer.name!r}{_of_type(stored)} has {array.size:,} values and no kernels: its "
            f"weights are {array.shape}, one for each channel."
        )
    return found[:, None] if stored.message.type in FACTORS else as_seen(found, stored)


def has_kernels(stored: StoredFilters) -> bool:
    """Whether its weights are (O, I, H, W), or of a convolution of other axes."""
    axes, kind = len(stored.shapes[0]), stored.message.type
    return kind not in FACTORS and (axes == 4 or (axes > 2 and kind in CONVOLUTIONS))


def is_matrix(stored: StoredFilters) -> bool:
    """Whether its weights are those of a fully connected layer, or of another with an output in each row."""
    return len(stored.shapes[0]) == 2 and stored.message.type not in FACTORS


def _of_type(stored: StoredFilters) -> str:
    return f" ({stored.message.type})" if stored.message.type else ""
