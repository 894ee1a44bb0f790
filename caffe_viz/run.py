"""Run an unchanged script of pycaffe's on the embedded engine: its `import caffe` finds that one.

    python -m caffe_viz.run script.py arguments..
    python -m caffe_viz.run --engine caffe -m module arguments..

Everything else is as `python script.py` has it: sys.argv, sys.path, __file__, tracebacks, exit codes. The
processes that the script starts find the engine too, behind what the script itself puts on sys.path. Names
that NumPy and Python have given up since, such as np.float and xrange, are there again.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from caffe_viz.backend import ENGINES, module
from caffe_viz.errors import CaffeVizError, InputError

PROGRAM = "python -m caffe_viz.run"
PARTS = ("io", "classifier", "coord_map", "detector", "draw", "net_spec", "proto")
# Module -> names that it had in the days of Caffe, and what they were.
OLD_NAMES: Mapping[str, Mapping[str, Any]] = {
    "numpy": {"float": float, "int": int, "bool": bool, "object": object, "complex": complex},
    "builtins": {"xrange": range, "raw_input": input, "unicode": str, "basestring": str, "long": int},
}
PYTHON_2 = "The script is written for Python 2: convert it, for example with 2to3 -w or python-modernize."
STAND_IN = str(Path(__file__).parent / "stand_in")
INTERRUPTED = 130  # as a shell has it
OWN = (__file__, runpy.run_module.__code__.co_filename)  # files whose lines no traceback needs


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends as the script does."""
    options = _parser().parse_args(arguments)
    # Not the folder where this is called: it may hold a Caffe that is not built.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        if not options.script:
            raise InputError(f"no script is given: {PROGRAM} script.py")
        path = None if options.as_module else _readable(options.script[0])
        prepare(options.engine)
        sys.argv = options.script
        _run(lambda: _module(options.script[0]) if path is None else _script(path))
    except CaffeVizError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        sys.exit(error.exit_code)


def prepare(engine: str) -> None:
    """Let `import caffe` of this process find an engine, and modules have their old names.

    Raises:
        RunError: the engine is not installed.
    """
    caffe = module(engine)
    parts = {f"caffe.{name}": getattr(caffe, name) for name in PARTS if hasattr(caffe, name)}
    sys.modules.update({"caffe": caffe, **parts, "caffe.proto.caffe_pb2": caffe.proto.caffe_pb2})
    for home, names in OLD_NAMES.items():
        there = vars(import_module(home))
        there.update({name: kind for name, kind in names.items() if name not in there})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=str(__doc__).splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--engine", choices=ENGINES, default="torch", help="what `import caffe` finds (%(default)s)"
    )
    parser.add_argument("-m", dest="as_module", action="store_true", help="run a module, not a file")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="the script or module, and its arguments")
    return parser


def _readable(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise InputError(f"there is no script {name}.")
    if not path.is_file() or not os.access(path, os.R_OK):
        raise InputError(f"{name} cannot be read as a script.")
    return path


def _search(first: str) -> None:
    """Look for modules in `first`, where a script's own are; children find the embedded engine after it."""
    sys.path[0] = first
    if sys.modules["caffe"].__name__ != "caffe":
        sys.path.insert(1, STAND_IN)
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{STAND_IN}{os.pathsep}{others}" if others else STAND_IN


def _module(name: str) -> None:
    _search(os.getcwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _script(path: Path) -> None:
    _search(str(path.resolve().parent))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = str(path.absolute())
    exec(compile(path.read_bytes(), main.__file__, "exec", dont_inherit=True), vars(main))


def _run(call: Callable[[], None]) -> None:
    """End as the interpreter does; of a traceback only what lies in the script is shown.

    Raises:
        InputError: there is no such module.
    """
    try:
        call()
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename in OWN:
            trace = trace.tb_next
        if trace is None and isinstance(error, ImportError):
            raise InputError(f"{error}.") from None
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, SyntaxError) and "call to 'print'" in str(error.msg):
            sys.stderr.write(f"{PYTHON_2}\n")
        sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


if __name__ == "__main__":
    main()
