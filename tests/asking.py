"""Questions of the live view asked in this process."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.images import png_bytes
from caffe_viz.network import Network
from caffe_viz.server.handlers import HANDLERS, Resources
from caffe_viz.server.messages import Answer, Setup, Source, Step


@dataclass(frozen=True)
class Asking:
    """Resources, and short ways to ask."""

    resources: Resources

    @classmethod
    def of(cls, *networks: Network, **setup: Any) -> Asking:
        return cls(Resources(Setup(networks, **setup)))

    def upload(self, data: bytes | Path, name: str = "cat.png") -> str:
        """The id of an image."""
        content = data if isinstance(data, bytes) else data.read_bytes()
        image = hashlib.sha256(content).hexdigest()
        self.resources.put(image, Source(name, content))
        return image

    def steps(self, question: str, **asked: Any) -> Iterator[Step]:
        row = HANDLERS[question]
        found = row.answer(self.resources, row.query(**asked))
        yield from [Step(1, 1, found)] if isinstance(found, Answer) else found

    def __call__(self, question: str, **asked: Any) -> Answer:
        """The answer; whatever it is, it can be sent."""
        *_, last = self.steps(question, **asked)
        assert last.answer is not None
        json.dumps(last.answer.facts, allow_nan=False)
        for shot in last.answer.figures:
            png_bytes(shot.rgb)
        return last.answer


def npy(array: Any) -> bytes:
    """The bytes of a file .npy."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
