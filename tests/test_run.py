"""Scripts that say `import caffe`, run on either engine: what they see is what `python script.py` shows them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts_run import as_before, call

from caffe_viz import backend, run

pytest.importorskip("torch", reason="the engine torch is not installed")

# What a script can see of how it was started, and the import lines that scripts have.
SEEN = """# -*- coding: latin-1 -*-
'''The doc.'''
import sys
import numpy as np
import helper
print([__name__, __file__, __doc__, __package__, sys.argv, sys.path[0], helper.x, "\xe4"])
"""
IMPORTS = """
import sys
sys.path.insert(0, "no/such/caffe/python")
import caffe
import caffe.io, caffe.draw
import caffe.proto.caffe_pb2 as pb
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from caffe.io import Transformer
import caffe.net_spec, caffe.classifier, caffe.detector, caffe.coord_map
import numpy as np
assert caffe.io.Transformer is Transformer and caffe_pb2 is pb and pb.NetParameter().name == ""
assert L.Pooling(pool=P.Pooling.MAX).to_proto().layer[0].type == "Pooling"
assert (np.float(1), np.int(2.5), np.object is object, np.bool(0)) == (1.0, 2, True, False)
assert list(xrange(2)) == [0, 1] and isinstance(u"", basestring) and isinstance(1, long)
print(caffe.__name__)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Callable[..., Any]:
    """Runs text as a script in this process; gives exit code, what it printed, and what it complained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(backend.__file__).parent.parent))
    (tmp_path / "helper.py").write_text("x = 1\n")

    def called(text: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[Any, str, str]:
        (tmp_path / "script.py").write_text(text, encoding="latin-1")
        return call(*options, "script.py", *arguments), *capfd.readouterr()

    return called


def test_import_caffe_finds_the_engine(script: Any, engine: str) -> None:
    code, out, err = script(IMPORTS, options=("--engine", engine))
    assert (code, out, err) == (0, f"{backend.module(engine).__name__}\n", "")


def test_the_embedded_engine_without_being_asked(script: Any) -> None:
    assert script("import caffe; print(caffe.Net.__module__)")[1] == "caffe_viz.engine.net\n"


@pytest.mark.caffe
def test_a_caffe_that_is_not_built_is_passed_over(tmp_path: Path, caffe: Any) -> None:
    """As in the folder python/ of Caffe's sources, where its own scripts are."""
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("from ._caffe import Net")
    (tmp_path / "script.py").write_text("import caffe; print(caffe.__file__)")
    command = [sys.executable, "-m", "caffe_viz.run", "--engine", "caffe", "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{caffe.__file__}\n"), done.stderr


@pytest.mark.parametrize(
    ("text", "code"),
    [("import sys; sys.exit(7)", 7), ("raise SystemExit('so')", "so"), ("exit()", None), ("pass", 0)],
)
def test_exit_codes(script: Any, text: str, code: Any) -> None:
    assert script(text)[0] == code


@pytest.mark.parametrize(
    "text", [SEEN, "def f():\n  {}['x']\ntry:\n  f()\nexcept KeyError:\n  f()", "x = = 1"]
)
def test_the_same_as_without_it(script: Any, tmp_path: Path, text: str) -> None:
    """Also what it complains of, byte for byte, though lines of ours lie above the script's."""
    found = script(text, "--engine", "-m", "x")
    command = [sys.executable, "script.py", "--engine", "-m", "x"]
    plain = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
    assert found == (plain.returncode, plain.stdout.decode(), plain.stderr.decode())


CHILDREN = """
import multiprocessing, subprocess, sys
def told(queue):
    import importlib.util
    queue.put(importlib.util.find_spec("caffe").origin)
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    child = spawn.Process(target=told, args=(queue,))
    child.start()
    print(queue.get())
    child.join()
    code = "import importlib.util as u; print(u.find_spec('caffe').origin)"
    print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout, end="")
"""


def test_children_find_the_engine_too(script: Any) -> None:
    found = Path(run.STAND_IN) / "caffe" / "__init__.py"
    assert script(CHILDREN) == (0, f"{found}\n{found}\n", "")
    with as_before():
        sys.modules.pop("caffe", None)
        sys.path.insert(0, run.STAND_IN)
        import caffe
        import caffe.io

        assert caffe is backend.module("torch")
        assert caffe.io is caffe.classifier.io


def test_the_other_engine_is_not_taken_for_real_caffe(script: Any) -> None:
    text = """
from caffe_viz import backend
print(backend.caffe_is_installed(), backend.chosen(), backend.module("auto").__name__)
"""
    assert script(text)[1] == "False torch caffe_viz.engine.pycaffe\n"


def test_modules(script: Any, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(
        "import caffe, sys; print(__name__, caffe.__name__, sys.argv[1:])"
    )
    script("pass")
    code, out, err = script("pass", options=("-m", "package"))
    assert (code, out, err) == (0, "__main__ caffe_viz.engine.pycaffe ['script.py']\n", "")
    code, out, err = script("pass", options=("-m", "package.other"))
    assert (code, out) == (2, "")
    assert err == "python -m caffe_viz.run: No module named package.other.\n"


def test_what_is_wrong_is_one_line(
    script: Any, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # a script has its own folder in the first place
    script("pass")
    for words, line in (
        (["nothing.py", "x"], "there is no script nothing.py."),
        ([str(tmp_path)], f"{tmp_path} cannot be read as a script."),
        ([], "no script is given: python -m caffe_viz.run script.py"),
        (["-m"], "no script is given: python -m caffe_viz.run script.py"),
    ):
        with pytest.raises(SystemExit) as end:
            run.main(words)
        assert (end.value.code, *capfd.readouterr()) == (2, "", f"python -m caffe_viz.run: {line}\n")


def test_an_engine_that_is_missing_is_one_line(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "caffe", None)
    code, out, err = script("pass", options=("--engine", "caffe"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "make caffe" in err


def test_python_2_is_named(script: Any) -> None:
    code, _, err = script('print "found"')
    assert code == 1
    assert "SyntaxError" in err
    assert "2to3" in err


def test_interrupted(script: Any) -> None:
    code, _, err = script("raise KeyboardInterrupt")
    assert (code, err.splitlines()[-1]) == (130, "KeyboardInterrupt")
