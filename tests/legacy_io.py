"""Real `caffe.io` as it was on the scikit-image of its days, which two of its functions no longer run on."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest


def repair(caffe: Any, patch: pytest.MonkeyPatch) -> None:
    """Give `caffe.io` the functions that it expects: imread(as_grey=..), and resize without smoothing."""
    import skimage.io
    from skimage.transform import resize

    read = skimage.io.imread
    patch.setattr(skimage.io, "imread", lambda path, as_grey=False: read(path, as_gray=as_grey))
    patch.setattr(caffe.io, "resize", partial(resize, anti_aliasing=False), raising=False)
