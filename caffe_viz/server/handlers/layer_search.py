"""The search of a layer for the places that activate its units most, shared by all who ask for a unit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.report.parts import PLACES
from caffe_viz.streaming import Progress
from caffe_viz.views.top_patches import searching


class LayerSearch:
    """Iterate until the search is done. Results are kept in `folder`, from which it can be resumed.

    Several may iterate in turns, and leave it half-way: each goes on where any has ended.

    Raises:
        InputError: no such layer, or it has no units; an image is needed, and the input takes none.
    """

    def __init__(self, network: Network, layer: str, collection: ImageCollection, folder: Path) -> None:
        network.geometry.layer(layer)  # a unit such as conv1:3 is not a layer here
        self.search = searching(network, collection, layer, None, PLACES, None)
        key = json.dumps(self.search.key, sort_keys=True).encode()
        self.search.keep_in(folder / f"places-{hashlib.sha256(key).hexdigest()[:32]}.npz")
        self._steps = iter(self.search)

    def __iter__(self) -> Iterator[Progress]:
        try:
            while self.search.top_k.seen < len(self.search.collection):
                progress = next(self._steps, None)
                if progress is None:  # an error has ended it
                    self._steps = iter(self.search)
                else:
                    yield progress
        finally:
            self.search.save()
