"""What a worker keeps: networks, images, photographs and searches, each loaded on demand."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from caffe_viz.errors import InputError
from caffe_viz.figures import heat, map_tiles
from caffe_viz.images import ImageCollection
from caffe_viz.server.handlers.layer_search import LayerSearch
from caffe_viz.server.handlers.loaded_network import LoadedNetwork
from caffe_viz.server.handlers.uploads import Uploads
from caffe_viz.server.lru import LRUCache
from caffe_viz.server.messages import Setup, Source

SEARCHES = 2  # whose nets are kept; of others the top k are on disk


class Resources:
    """What questions are answered from. Nothing is loaded before it is needed."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.uploads = Uploads()
        self._searches: LRUCache[LayerSearch] = LRUCache(SEARCHES, lambda _: 1)
        self._opened = [LoadedNetwork(network, self.uploads) for network in setup.networks]

    def put(self, image: str, source: Source) -> None:
        """Remember the file of an image by its id; it is decoded when a question needs it."""
        self.uploads.put(image, source)

    def open(self, number: int) -> LoadedNetwork:
        """Return one of the networks. Raises InputError if there is no such network."""
        if number >= len(self._opened):
            raise InputError("there is no second network: start the server with --beside WEIGHTS.")
        return self._opened[number]

    @cached_property
    def photos(self) -> ImageCollection:
        """The photographs. Raises InputError if there are none, or they cannot be found."""
        if not self.setup.photos:
            raise InputError(
                "there are no photographs: start the server with --photos FOLDER to search some."
            )
        return ImageCollection.of(*self.setup.photos)

    def searching(self, number: int, layer: str) -> LayerSearch:
        """Return the search of the photographs for a layer of a network; raises as `LayerSearch`."""
        opened = self.open(number)

        def begin() -> LayerSearch:
            return LayerSearch(opened.leading(opened.blob(layer)), layer, self.photos, self._folder)

        return self._searches.get((number, layer), begin)

    @cached_property
    def _folder(self) -> Path:
        """The folder for searches: a temporary one by default."""
        if self.setup.folder is not None:
            return self.setup.folder
        self._temporary = tempfile.TemporaryDirectory(prefix="caffe-viz-")
        return Path(self._temporary.name)

    def warm(self) -> None:
        """Load what the first question would wait for. Errors are reported when someone asks."""
        heat([[0.0, 1.0]])  # imports the colours
        map_tiles([[[0.0, 1.0]]])  # and the fonts
        for opened in self._opened:
            with suppress(Exception):  # this only saves time
                opened.warm()
