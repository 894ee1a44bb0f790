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
from caffe_viz.report.context import ReportContext
from caffe_viz.server.dispatcher import Dispatcher
from caffe_viz.server.handlers import Handler
from caffe_viz.server.image_library import ImageLibrary
from caffe_viz.server.messages import Ask
from caffe_viz.server.queries import Query


@dataclass(frozen=True)
class View:
    """One network or two, images, and the dispatcher that has the answers of `handlers`."""

    contexts: tuple[ReportContext, ...]
    library: ImageLibrary
    dispatcher: Dispatcher
    handlers: Mapping[str, Handler]
    command: str = ""

    def key(self, name: str, query: Query) -> str:
        """Stands for all that decides an answer. Raises InputError where a network is not there."""
        nets = sorted({query.net, getattr(query, "other_net", query.net)})
        if nets[-1] >= len(self.contexts):
            raise InputError("there is one network only: `caffe-viz serve` takes another by --beside.")
        about = [self._identities[net] for net in nets]
        text = json.dumps([caffe_viz.__version__, about, name, query.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    async def ask(self, name: str, query: Query, *, data: bool = False) -> Ask:
        """What to give to the dispatcher. Raises InputError where a network or an image is not there."""
        key = self.key(name, query)
        images = {one: await asyncio.to_thread(self.library.source, one) for one in query.images}
        return Ask(key, name, query, images, data)

    @cached_property
    def _identities(self) -> list[Mapping[str, Any]]:
        return [{**one.identity, "inputs": _inputs(one)} for one in self.contexts]


def _inputs(context: ReportContext) -> str:
    try:
        return context.network.inputs_digest
    except InputError:  # several inputs, none of which must be the image
        return ""
