"""A layer type of one's own: a box blur that keeps every second row and column."""

from caffe_viz.engine import Out, layer, need, window


def shapes(param, bottoms):
    """Each unit of the top sees 2 x 2 of the bottom, 2 apart."""
    n, c, h, w = bottoms[0]
    need(h > 1 and w > 1, "needs at least two rows and columns")
    return Out(tops=((n, c, h // 2, w // 2),), views=(window((2, 2), (2, 2), (0, 0)),))


@layer("Blur", shapes=shapes)
def blur(call, bottoms, params):
    x = bottoms[0]
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    return sum(x[:, :, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)) / 4
