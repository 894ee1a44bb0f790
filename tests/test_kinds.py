"""Every command on every kind of net: a result, or one line that says why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from commands import ran
from kinds import KINDS, Kind, OneProcess

from caffe_viz import ascent, checking, network
from caffe_viz.checking import Finding

# Command -> its arguments, and whether it runs an engine; {image} and {layer} are those of the kind.
COMMANDS: dict[str, tuple[str, bool]] = {
    "shapes": ("{net} {weights}", False),
    "check": ("{net} {weights}", False),
    "draw": ("{net} -o {out}", False),
    "weights": ("{net} {weights} -o {out}", False),
    "aux": ("{net} --layer {layer} -o {out}/aux.prototxt", False),
    "activations": ("{net} {weights} {image} -o {out}", True),
    "gradient": ("{net} {weights} {image} -o {out}", True),
    "classify": ("{net} {weights} {image}", True),
    "top": ("{net} {weights} {image} --layer {layer} -o {out}", True),
    "attribute": (
        "{net} {weights} {image} --method all --patch 9 --stride 9 --samples 2 --steps 2 -o {out}", True,
    ),
    "evaluate": ("{net} {weights} {image} --method gradient --points 2 --check curves -o {out}", True),
    "ascend": ("{net} {weights} --layer {layer} --filters 0:2 --steps 2 --jobs 1 -o {out}", True),
    "dream": ("{net} {weights} {one} --layer {layer} --steps 1 --octaves 1 -o {out}", True),
    "invert": ("{net} {weights} {one} --layer {layer} --steps 1 -o {out}", True),
    "report": ("{net} {weights} {image} --budget 0 -o {out}", True),
    "parity": ("{net} {weights}", False),
    "export": ("{net} {weights} --to torch -o {out}/net.pt2", False),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of each kind's files."""
    return cache(lambda name: KINDS[name].write(tmp_path_factory.mktemp(name)))


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ascents climb in this process, and real Caffe tries each net once."""
    monkeypatch.setattr(ascent, "Crew", OneProcess)
    for module in (network, checking):
        monkeypatch.setattr(module, "probe", lambda path, *_, **__: tried(Path(path).read_bytes()))


@cache
def tried(prototxt: bytes) -> tuple[Finding, ...]:
    return ()


def arguments(command: str, kind: Kind, folder: Path, out: Path, engine: str) -> Iterator[str]:
    """The words of a command line."""
    text, runs = COMMANDS[command]
    yield command
    yield from text.format(
        net=folder / "deploy.prototxt", weights=folder / "net.caffemodel", layer=kind.layer, out=out,
        one=f"--image {folder / 'image.npy'}",
        image=" ".join(f"--image {name}{folder / 'image.npy'}" for name in kind.images),
    ).split()  # fmt: skip
    if runs:
        yield from ("--engine", engine)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, kind: str, engine: str, files: Any, tmp_path: Path) -> None:
    if engine == "torch" and not COMMANDS[command][1]:
        pytest.skip("runs no engine, or both: once is enough")
    code, said, errors = ran(*arguments(command, KINDS[kind], files(kind), tmp_path, engine))
    lines = [line for line in errors.splitlines() if not line.startswith("caffe-viz: inputs not given: ")]
    assert "Traceback" not in errors
    if reason := KINDS[kind].refused.get(command):
        assert code in (1, 2)
        assert len(lines) == 1
        assert re.search(reason, lines[0])
        return
    assert not code, errors
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert said
    assert all(path.stat().st_size for path in made)
    assert made or "{out}" not in COMMANDS[command][0]
