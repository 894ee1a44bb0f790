"""Questions about what in an image causes a target: a class, a unit, a neuron."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caffe_viz.attribution import METHODS, PASSES, Attribution, Reads, SteppedRun, attributing, centre
from caffe_viz.attribution.targets import find_target, likeliest_class
from caffe_viz.errors import InputError, RunError, near
from caffe_viz.figures import heat, signed_colours
from caffe_viz.network import Array
from caffe_viz.report.shelf import Shot
from caffe_viz.report.showing import enlarged, file_name, json_number, stem
from caffe_viz.server import asked as questions
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.questions.bench import Bench
from caffe_viz.views.attributed import SIGNED


def attribution(bench: Bench, asked: questions.Attribution) -> Answer:
    """Explain by a method that needs few passes."""
    if asked.method in PASSES:
        raise InputError(f"{asked.method} takes long: ask for attribution-long.")
    for step in long_attribution(bench, asked):
        answer = step.answer
    assert answer is not None
    return answer


def long_attribution(bench: Bench, asked: questions.Attribution) -> Iterator[Step]:
    """Explain by any method, step by step."""
    if asked.method not in METHODS:
        raise InputError(f"method {asked.method!r} is unknown.{near(asked.method, METHODS)}")
    opened, name = bench.open(asked.net), bench.uploads.name(asked.image)
    probe = opened.probe(asked.target, asked.layer)
    pixels = opened.pixels(asked.image, probe.network)
    target = find_target(probe, asked.target) if asked.target else likeliest_class(probe, pixels)
    facts = {"target": str(target), "label": target.label, "method": asked.method}
    run = SteppedRun(
        attributing(
            probe, pixels[None], [asked.target] if asked.target else None, asked.method, asked.layer or None,
            names=[name],
        )
    )  # fmt: skip
    try:
        for share in run:
            yield Step(share, 1.0)
    except (InputError, RunError) as error:
        if asked.layer and METHODS[asked.method].reads is Reads.LAYER and isinstance(error, InputError):
            raise
        refused = {"refused": str(error), "score": None, "layer": "", "state": "", "empty": True}
        yield Step(1.0, 1.0, Answer(facts | refused))
        return
    yield Step(1.0, 1.0, _answer(run.made, facts, name, opened.draw(pixels, probe.network)))


def _answer(found: Attribution, facts: dict[str, str], name: str, seen: Array) -> Answer:
    """`seen` is what went into the net, as a picture."""
    method, maps = found.method, found.maps[0]
    alone = heat(maps) if len(found.pictures) else enlarged(heat(maps))
    pictures = [("heat", f"{method} for {facts['target']} in {name}", alone)]
    pictures.append(("input", f"{name} as the net sees it", seen))
    if method in SIGNED and found.channel_order:
        colours = signed_colours(found.values[0], found.channel_order)
        pictures.append(("colours", f"{method} for {facts['target']} in {name}, as colours", colours))
    told = {
        "refused": "", "score": json_number(found.scores[0]), "layer": found.layer, "state": found.state,
        "empty": not np.isfinite(centre(maps)[0]), "size": list(maps.shape),
    }  # fmt: skip
    shots = [
        Shot(rgb, words, file_name(f"{stem(name)}_{method}", kind), photo=kind == "input")
        for kind, words, rgb in pictures
    ]
    arrays = {"values": found.values, "maps": found.maps, "scores": found.scores}
    return Answer(facts | told, tuple(shots), arrays)
