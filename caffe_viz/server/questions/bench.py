"""What a worker holds: networks, images, photographs, searches, each loaded when it is used."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from caffe_viz.errors import CaffeVizError, InputError
from caffe_viz.figures import heat
from caffe_viz.images import Album
from caffe_viz.server.messages import Setup, Source
from caffe_viz.server.questions.opened import Opened
from caffe_viz.server.questions.uploads import Uploads


class Bench:
    """What questions are answered with; nothing is loaded before it is needed."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.uploads = Uploads()
        self._opened = [Opened(network, self.uploads) for network in setup.networks]

    def put(self, image: str, source: Source) -> None:
        """Remember the file of an image by its id; it is decoded when a question needs it."""
        self.uploads.put(image, source)

    def open(self, number: int) -> Opened:
        """One of the networks. Raises InputError if there are not so many."""
        if number >= len(self._opened):
            raise InputError(
                "there is no second network: start the server with --other to have one beside it."
            )
        return self._opened[number]

    @cached_property
    def photos(self) -> Album:
        """The many photographs. Raises InputError if there are none, or they cannot be found."""
        if not self.setup.photos:
            raise InputError(
                "there are no photographs: start the server with --photos FOLDER to search some."
            )
        return Album.of(*self.setup.photos)

    @cached_property
    def folder(self) -> Path:
        """Where searches are kept; a temporary folder, if no other is given."""
        if self.setup.folder is not None:
            return self.setup.folder
        self._temporary = tempfile.TemporaryDirectory(prefix="caffe-viz-")
        return Path(self._temporary.name)

    def warm(self) -> None:
        """Load what the first question would wait for; what is wrong is said to those who ask."""
        heat([[0.0, 1.0]])  # imports the colours
        for opened in self._opened:
            with suppress(CaffeVizError):
                opened.warm()
