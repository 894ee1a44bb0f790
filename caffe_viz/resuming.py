"""What an interrupted run over many images must have in common with the run that goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError
from caffe_viz.files import sha256
from caffe_viz.images import Album, Labels
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Network
from caffe_viz.streaming import Runner

ADVICE = "delete it to begin anew, or give another output"
SAVE_EVERY = 5.0  # seconds


def identity(part: Network, album: Album, runner: Runner) -> dict[str, Any]:
    """What decides the numbers of a run, as JSON has it; the names are those that an error says."""
    net = part.message.SerializeToString(deterministic=True)
    how = part.preprocess
    return {
        "net": hashlib.sha256(net).hexdigest(),
        "weights": _digest(part.weights),
        "images": album.digest,
        "inputs": part.inputs_digest,
        "preprocessing": [repr(replace(how, labels=Labels())), how.mean.digest],
        "engine": [runner.engine, part.device, runner.batch],
    }


def need_same(key: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Raises InputError if `found`, the key that `what` was saved with, is another; says in what."""
    others = [name for name in key if json.loads(json.dumps(key[name])) != found.get(name)]
    if others:
        raise InputError(f"{what} with other {', '.join(others)}: {ADVICE}.")


def _digest(weights: str | Path | NetParameter | None) -> str:
    if isinstance(weights, str | Path):
        return sha256(weights)
    held = b"" if weights is None else weights.SerializeToString(deterministic=True)
    return hashlib.sha256(held).hexdigest()
