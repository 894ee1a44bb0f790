"""What one server shows, and the keys of its answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import caffe_viz
from caffe_viz.errors import InputError
from caffe_viz.report.subject import Subject
from caffe_viz.server.asked import Asked
from caffe_viz.server.board import Board
from caffe_viz.server.library import Library
from caffe_viz.server.messages import Ask
from caffe_viz.server.questions import Question


@dataclass(frozen=True)
class View:
    """One network or two, images, and the board that has the answers to `questions`."""

    subjects: tuple[Subject, ...]
    library: Library
    board: Board
    questions: Mapping[str, Question]
    command: str = ""

    def key(self, name: str, asked: Asked) -> str:
        """Stands for all that decides an answer. Raises InputError where a network is not there."""
        nets = sorted({asked.net, getattr(asked, "other_net", asked.net)})
        if nets[-1] >= len(self.subjects):
            raise InputError("there is one network only: `caffe-viz serve` takes another by --beside.")
        about = [self._identities[net] for net in nets]
        text = json.dumps([caffe_viz.__version__, about, name, asked.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    async def ask(self, name: str, asked: Asked, *, data: bool = False) -> Ask:
        """What to put on the board. Raises InputError where a network or an image is not there."""
        key = self.key(name, asked)
        images = {one: await asyncio.to_thread(self.library.source, one) for one in asked.images}
        return Ask(key, name, asked, images, data)

    @cached_property
    def _identities(self) -> list[Mapping[str, Any]]:
        return [{**one.identity, "inputs": _inputs(one)} for one in self.subjects]


def _inputs(subject: Subject) -> str:
    try:
        return subject.network.inputs_digest
    except InputError:  # several inputs, none of which must be the image
        return ""
