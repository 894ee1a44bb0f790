"""Rules of layers that resize or pad an image."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_viz.geometry.fork_reshaping import pixel_shuffled
from caffe_viz.geometry.receptive_fields import View, window
from caffe_viz.geometry.table import Out, Shapes, checked, four_axes, legacy, need, rule, scaled
from caffe_viz.netdef import LayerParameter


@rule("PixelShuffle")
def _pixel_shuffle(layer: LayerParameter, bottoms: Shapes) -> Out:
    return pixel_shuffled(
        layer.pixelshuffle_param.upscale_factor, bottoms, "pixelshuffle_param", "upscale_factor"
    )


@rule("Resize")
def _resize(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (n, c, h, w) = layer.resize_param, legacy(bottoms[0])
    if param.is_pyramid_test:
        given = param.HasField("out_height_scale") and param.HasField("out_width_scale")
        need(given, "resize_param needs out_height_scale and out_width_scale with is_pyramid_test")
        size = scaled(h, param.out_height_scale), scaled(w, param.out_width_scale)
    else:
        need(param.HasField("height") and param.HasField("width"), "resize_param needs height and width")
        size = int(param.height), int(param.width)
    top = checked((n, c, *size), "the top", "raise its size")
    return Out((top,), views=(blend_view((h / size[0], w / size[1]), 0),))


@rule("BilinearInterpolate")
def _bilinear(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (n, c, h, w) = layer.bilinear_interpolate_param, legacy(bottoms[0])
    given = param.HasField("dst_h") or param.HasField("dst_w")
    need(given != param.HasField("scale_factor"), "give dst_h and dst_w, or scale_factor, not both or none")
    if given:
        size = (
            (param.dst_h if param.HasField("dst_h") else h),
            (param.dst_w if param.HasField("dst_w") else w),
        )
    else:
        size = scaled(h, param.scale_factor), scaled(w, param.scale_factor)
    top = checked((n, c, *size), "the top", "raise its size")
    if not param.align_corners:
        return Out((top,), views=(blend_view((h / size[0], w / size[1]), 0.5),))
    ratios = [(a - 1) / (b - 1) if b > 1 else 0 for a, b in zip((h, w), size, strict=True)]
    return Out((top,), views=(blend_view(ratios, 0),))


def blend_view(ratios: Sequence[float], shift: float) -> View:
    """Linear interpolation: unit o mixes the two bottom units around o * ratio + shift * (ratio - 1)."""
    return window((2, 2), ratios, [shift * (r - 1) - 0.5 for r in ratios])


@rule("Pad", in_place=False)
def _pad(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Real Caffe takes fewer axes and mixed signs too, but then writes outside its memory on forward."""
    p, (n, c, h, w) = layer.pad_param, four_axes(bottoms[0])
    pads = (p.pad_u, p.pad_d, p.pad_l, p.pad_r)
    need(min(pads) >= 0 or max(pads) < 0, "pads must be all at least 0 (pad) or all below 0 (crop)")
    top = (n, c, h + p.pad_u + p.pad_d, w + p.pad_l + p.pad_r)
    return Out((top,), views=(window((1, 1), (1, 1), (-p.pad_u, -p.pad_l)),))
