"""Questions about what in an image causes a target: a class, a unit, a neuron."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caffe_viz.attribution import METHODS, PASSES, Attribution, Reads, SteppedRun, attributing, centre
from caffe_viz.attribution.targets import find_target, likeliest_class
from caffe_viz.errors import InputError, RunError, near
from caffe_viz.figures import heat, signed_colours
from caffe_viz.network import Array
from caffe_viz.report.part_cache import Figure
from caffe_viz.report.showing import enlarged, file_name, json_number, stem
from caffe_viz.server import queries as questions
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer, Step
from caffe_viz.views.attributed import SIGNED


def attribution(resources: Resources, query: questions.Attribution) -> Answer:
    """Explain with a method that needs only a few passes."""
    if query.method in PASSES:
        raise InputError(f"{query.method} takes long: ask for attribution-long.")
    for step in long_attribution(resources, query):
        answer = step.answer
    assert answer is not None
    return answer


def long_attribution(resources: Resources, query: questions.Attribution) -> Iterator[Step]:
    """Explain with any method, step by step."""
    if query.method not in METHODS:
        raise InputError(f"method {query.method!r} is unknown.{near(query.method, METHODS)}")
    opened, name = resources.open(query.net), resources.uploads.name(query.image)
    probe = opened.probe(query.target, query.layer)
    pixels = opened.pixels(query.image, probe.network)
    target = find_target(probe, query.target) if query.target else likeliest_class(probe, pixels)
    facts = {"target": str(target), "label": target.label, "method": query.method}
    run = SteppedRun(
        attributing(
            probe, pixels[None], [query.target] if query.target else None, query.method, query.layer or None,
            names=[name],
        )
    )  # fmt: skip
    try:
        for share in run:
            yield Step(share, 1.0)
    except (InputError, RunError) as error:
        if query.layer and METHODS[query.method].reads is Reads.LAYER and isinstance(error, InputError):
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
    figures = [
        Figure(rgb, words, file_name(f"{stem(name)}_{method}", kind), photo=kind == "input")
        for kind, words, rgb in pictures
    ]
    arrays = {"values": found.values, "maps": found.maps, "scores": found.scores}
    return Answer(facts | told, tuple(figures), arrays)
