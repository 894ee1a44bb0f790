"""Commands of caffe-viz run in this process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout

import pytest

from caffe_viz.cli import main


def here(*arguments: object) -> str:
    """What a command prints, run in this process: it starts no second engine."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr(sys, "argv", ["caffe-viz", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return out.getvalue()
