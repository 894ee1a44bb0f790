"""Objectives as values: what an image is to maximise. No files, nets or engines are touched here."""

from caffe_viz.objectives.forms import Form, Slot, Times, Total, form_of, slots
from caffe_viz.objectives.parsing import Names, parse
from caffe_viz.objectives.photographs import files, gram, loaded, resolved
from caffe_viz.objectives.values import (
    Channel,
    Content,
    Direction,
    Diversity,
    Layer,
    Leaf,
    Named,
    Neuron,
    Objective,
    Product,
    Source,
    Style,
    Sum,
    Target,
    leaves,
)

__all__ = [
    "Channel",
    "Content",
    "Direction",
    "Diversity",
    "Form",
    "Layer",
    "Leaf",
    "Named",
    "Names",
    "Neuron",
    "Objective",
    "Product",
    "Slot",
    "Source",
    "Style",
    "Sum",
    "Target",
    "Times",
    "Total",
    "files",
    "form_of",
    "gram",
    "leaves",
    "loaded",
    "parse",
    "resolved",
    "slots",
]
