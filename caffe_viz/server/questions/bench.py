"""What a worker holds: networks, nets, probes and the last images, each loaded when it is used."""

from __future__ import annotations

from caffe_viz.server.messages import Setup, Source


class Bench:
    """What questions are answered with; nothing is loaded before it is needed."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._sources: dict[str, Source] = {}

    def put(self, image: str, source: Source) -> None:
        """Remember the file of an image by its id; it is decoded when a question needs it."""
        self._sources[image] = source
