"""Commands of caffe-viz run in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

import pytest

from caffe_viz.cli import main


def here(*arguments: object) -> str:
    """What a command prints, run in this process: it starts no second engine."""
    code, out, _ = _run(arguments)
    assert not code
    return out


def refused(*arguments: object) -> str:
    """What a command says on standard error that ends with exit code 2."""
    code, _, said = _run(arguments)
    assert code == 2
    return said


def _run(arguments: Sequence[object]) -> tuple[object, str, str]:
    """Exit code, standard output, standard error."""
    out, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(said):
        patch.setattr(sys, "argv", ["caffe-viz", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return end.value.code, out.getvalue(), said.getvalue()
