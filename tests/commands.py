"""Commands of caffe-viz run in this process."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache

import pytest
import typer.main

from caffe_viz.cli import main

BUILT = cache(typer.main.get_command)  # of all commands and options, which takes longer than many of them


def here(*arguments: object) -> str:
    """What a command prints, run in this process: it starts no second engine."""
    code, out, said = ran(*arguments)
    assert not code, said
    return out


def refused(*arguments: object) -> str:
    """What a command says on standard error that ends with exit code 2."""
    code, _, said = ran(*arguments)
    assert code == 2
    return said


def ran(*arguments: object) -> tuple[object, str, str]:
    """Exit code, standard output, standard error."""
    out, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(said):
        patch.setattr(sys, "argv", ["caffe-viz", *map(str, arguments)])
        patch.setattr(typer.main, "get_command", BUILT)
        with pytest.raises(SystemExit) as end:
            main()
    return end.value.code, out.getvalue(), said.getvalue()


def completed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same, as of a process of its own."""
    code, out, said = ran(*arguments)
    return subprocess.CompletedProcess([*map(str, arguments)], int(str(code or 0)), out, said)
