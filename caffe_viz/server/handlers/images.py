"""Questions about an image: what it looks like, and what the network answers."""

from __future__ import annotations

from typing import Any

from caffe_viz.answers import Head
from caffe_viz.classification import class_heads, likeliest
from caffe_viz.errors import InputError
from caffe_viz.figures import draw_input
from caffe_viz.images import stretched
from caffe_viz.images.files import shrunk
from caffe_viz.network import Array
from caffe_viz.report.part_cache import Figure
from caffe_viz.report.showing import file_name, json_number, stem
from caffe_viz.server.handlers.loaded_network import LoadedNetwork
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer
from caffe_viz.server.queries import ImageQuery, Thumbnail

GUESSES = 10
VALUES = 5000  # of an answer, that are told; all of them are in its data


def image(resources: Resources, query: Thumbnail) -> Answer:
    """The image itself, at any size."""
    name, rgb = resources.uploads.name(query.image), resources.uploads.picture(query.image)
    if rgb is None:
        rgb = draw_input(resources.uploads.array(query.image), None, stretched)
    height, width = rgb.shape[:2]
    figure = Figure(shrunk(rgb, query.side), name, file_name(stem(name), "image"), photo=True)
    return Answer({"name": name, "width": width, "height": height}, (figure,))


def answer(resources: Resources, query: ImageQuery) -> Answer:
    """The scores of all classes, the likeliest ones by name, and the image as the net saw it."""
    opened, name = resources.open(query.net), resources.uploads.name(query.image)
    network = opened.leading(opened.network.heads[0].answer)
    rgb = opened.draw(opened.pixels(query.image, network), network)
    seen = Figure(rgb, f"{name} as the net sees it", file_name(stem(name), "input"), photo=True)
    try:
        heads = class_heads(opened.network)
    except InputError as error:
        return Answer({"heads": [], "why": str(error)}, (seen,))
    values = {head.answer: opened.blobs(query.image, head.answer)[head.answer].ravel() for head in heads}
    facts = {"heads": [_told(opened, head, values[head.answer]) for head in heads], "why": ""}
    return Answer(facts, (seen,), values)


def _told(opened: LoadedNetwork, head: Head, values: Array) -> dict[str, Any]:
    guesses = likeliest(values, opened.network.labels_of(head), GUESSES)
    return {
        "head": head.answer,
        "unit": "probability" if head.values == "probabilities" else "score",
        "values": [json_number(value) for value in values[:VALUES]],
        "classes": [{"number": g.number, "label": g.label, "value": json_number(g.value)} for g in guesses],
    }
