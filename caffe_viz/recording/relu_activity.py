"""Which units of rectifiers were ever active; the others are dead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RECTIFIERS = ("ReLU", "ReLU6")
KEEP_SIGNS = ("Dropout", *RECTIFIERS)  # in place after a rectifier they make no unit active


class ReluActivity:
    """The ReLU layers of a `caffe.Net`, and which of their units were above 0 since `reset`.

    A unit is a channel, or an entry of a vector. Rectifiers whose blob another layer changes in place are
    left out.
    """

    def __init__(self, net: Any) -> None:
        self._net = net
        self._blobs = _rectified(net)
        self.active: list[NDArray[np.bool_]] = []
        self.reset()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._blobs)

    def reset(self) -> None:
        """Forget which units were active."""
        self.active = [np.zeros(self._data(name).shape[1], bool) for name in self._blobs.values()]

    def look(self) -> None:
        """Note which units the last forward made active; only units that were not active before take time."""
        for active, name in zip(self.active, self._blobs.values(), strict=True):
            data = self._data(name)
            if not active.any():
                active[:] = _above(data[:1])  # one image is enough for most units
            idle = np.flatnonzero(~active)
            if idle.size:
                active[idle] = _above(data[:, idle])

    def dead(self) -> NDArray[np.float32]:
        """The share of units of each rectifier that were never active, (R,)."""
        return np.array([1 - active.mean() for active in self.active], np.float32)

    def _data(self, name: str) -> NDArray[np.float32]:
        data: NDArray[np.float32] = self._net.blobs[name].data
        return data


def _above(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N, C, ...) -> (C,): whether any value of a channel is above 0."""
    return np.asarray((values > 0).any(axis=tuple(i for i in range(values.ndim) if i != 1)))


def _rectified(net: Any) -> dict[str, str]:
    """Rectifier -> its top, of those that no later layer overwrites."""
    found: dict[str, str] = {}
    names = list(net._blob_names)
    for i, (layer, name) in enumerate(zip(net.layers, net._layer_names, strict=True)):
        tops = [names[k] for k in net._top_ids(i)]
        if layer.type not in KEEP_SIGNS:
            found = {relu: top for relu, top in found.items() if top not in tops}
        if layer.type in RECTIFIERS and net.blobs[tops[0]].data.ndim > 1:
            found[name] = tops[0]
    return found
