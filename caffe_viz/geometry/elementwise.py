"""Rules of fork layers that work value by value, on one blob or several."""

from __future__ import annotations

import math
from itertools import zip_longest

from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.table import Out, Shapes, legacy, need, rule, text
from caffe_viz.netdef import LayerParameter


@rule("Mish", "SeLU", "Swish", fork=True)
def _neuron(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms)


@rule("OutputDecay", fork=True)
def _output_decay(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms)


@rule("Clip", fork=True)
def _clip(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.clip_param
    need(p.HasField("min") and p.HasField("max"), "clip_param needs min and max")
    return Out(bottoms)


@rule("BReLU", fork=True)
def _brelu(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.brelu_param
    need(p.minval <= p.maxval, f"minval {p.minval:g} is above maxval {p.maxval:g}")
    return Out(bottoms)


@rule("Insanity", fork=True)
def _insanity(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.insanity_param
    need(p.ub > p.lb and p.lb * p.ub != 0, "insanity_param needs lb below ub, and neither 0")
    return Out(bottoms)


@rule("Axpy", bottoms=3, fork=True)
def _axpy(layer: LayerParameter, bottoms: Shapes) -> Out:
    """A factor for each channel, what it multiplies, what is added."""
    factors, shape, addend = bottoms
    need(len(shape) >= 2, "the second bottom must have at least 2 axes (N, C)")
    fits = factors[:2] == shape[:2] and math.prod(factors[2:]) == 1
    need(
        fits, f"the first bottom must be {text(shape[:2])} or {text((*shape[:2], 1, 1))}, not {text(factors)}"
    )
    need(addend == shape, f"the third bottom must be {text(shape)}, as the second, not {text(addend)}")
    return Out((shape,))


@rule("ChannelScale", bottoms=2, tops=(1, 2), fork=True)
def _channel_scale(layer: LayerParameter, bottoms: Shapes) -> Out:
    """A factor for each pixel, or one for all, which is stored; a second top is that one."""
    shape, factors = bottoms
    n, _, h, w = legacy(shape)
    wide = layer.channel_scale_param.global_scale
    need(
        math.prod(factors) == n * h * w, f"the second bottom must have {n * h * w} values, one for each pixel"
    )
    need(wide or len(layer.top) == 1, "has a second top only with global_scale")
    return Out((shape, (1,))[: len(layer.top)], ((1,),) if wide else ())


@rule("Add", "Mul", bottoms=(1, 2), fork=True)
def _broadcast(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Axes are counted from the end; one of size 1 stands for all places along the other's."""
    if len(bottoms) == 2:
        return Out((_joined(*bottoms),))
    stored = tuple(layer.trained[0].dim) if layer.trained else tuple(layer.mul_param.mul_shape)
    need(
        layer.trained or layer.type == "Mul",
        "takes two bottoms, or trained weights: give it a second bottom",
    )
    return Out((_joined(bottoms[0], stored),), (stored,))


def _joined(a: Shape, b: Shape) -> Shape:
    pairs = list(zip_longest(reversed(a), reversed(b), fillvalue=1))
    fits = all(x == y or 1 in (x, y) for x, y in pairs)
    need(fits, f"{text(a)} and {text(b)} must agree from the last axis on, but for axes of size 1")
    return tuple(max(pair) for pair in reversed(pairs))
