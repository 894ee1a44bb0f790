"""Every command on every kind of net: a result, or one line that says why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import climbing
import pytest
from commands import ran
from kinds import FILM, KINDS, Kind

from caffe_viz import ascent
from caffe_viz.netdef import read_net

# Command -> its arguments; {image}, {one} and {layer} are those of the kind.
ONCE = {
    "shapes": "{net} {weights}",
    "check": "{net} {weights}",
    "draw": "{net} -o {out}",
    "weights": "{net} {weights} -o {out}",
    "aux": "{net} --layer {layer} -o {out}/aux.prototxt",
    "report": "{net} {weights} {image} --budget 0 -o {out}",
    "parity": "{net} {weights}",
    "export": "{net} {weights} --to torch -o {out}/net.pt2",
    "segment": "{net} {weights} {image} -o {out}",
    "detect": "{net} {weights} {image} -o {out}",
}
# What none of the kinds answers with; nets that do have tests of their own.
NOT_IN_PLACES = {"segment": "not a class for each pixel", "detect": "boxes can be read from"}
RUNNING = {
    "activations": "{net} {weights} {image} -o {out}",
    "gradient": "{net} {weights} {image} -o {out}",
    "classify": "{net} {weights} {image}",
    "top": "{net} {weights} {image} --layer {layer} -o {out}",
    "features": "{net} {weights} {image} --blob {layer} -o {out}/features.npz",
    "attribute": "{net} {weights} {image} --method all --patch 16 --stride 16 --samples 2 --steps 2 -o {out}",
    "evaluate": "{net} {weights} {image} --method gradient --points 2 --check curves -o {out}",
    "ascend": "{net} {weights} --layer {layer} --filters 0:2 --steps 2 --jobs 1 -o {out}",
    "dream": "{net} {weights} {one} --layer {layer} --steps 1 --octaves 1 -o {out}",
    "invert": "{net} {weights} {one} --layer {layer} --steps 1 -o {out}",
}
ENGINES = ("caffe", "torch")
# Each command and each kind sees both engines, whose agreement is a matter for tests of layers.
CHECKERBOARD = [
    (command, kind, ENGINES[(row + column) % 2])
    for row, command in enumerate(RUNNING)
    for column, kind in enumerate(KINDS)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of each kind's files."""
    return cache(lambda name: (KINDS | {"film": FILM})[name].write(tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Ascents climb in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ascent, "WorkerPool", climbing.here)
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ONCE)
def test_command(command: str, kind: str, files: Any, tmp_path: Path) -> None:
    goes_through(command, ONCE[command], KINDS[kind], files(kind), tmp_path)


@pytest.mark.parametrize(("command", "kind", "engine"), CHECKERBOARD, indirect=["engine"])
def test_command_that_runs_the_net(command: str, kind: str, engine: str, files: Any, tmp_path: Path) -> None:
    text = f"{RUNNING[command]} --engine {engine}"
    goes_through(command, text, KINDS[kind], files(kind), tmp_path)


@pytest.mark.parametrize(("kind", "engine"), [*zip(KINDS, cycle(ENGINES))], indirect=["engine"])
def test_commands_on_the_last_layer(kind: str, engine: str, files: Any, tmp_path: Path) -> None:
    """Answers and losses have no maps, and often one axis or none: a picture of them, or one line why not."""
    net = files(kind)
    last = read_net(net / "deploy.prototxt").layer[-1].name
    for command in ("aux", "gradient", "top", "ascend", "dream", "invert"):
        words = arguments((ONCE | RUNNING)[command], KINDS[kind], net, tmp_path, last)
        more = ("--target", last) if command == "gradient" else ()
        code, said, errors = ran(
            command, *words, *more, *(("--engine", engine) if command in RUNNING else ())
        )
        assert code in (0, 1, 2)
        assert said if not code else errors.strip().splitlines()[-1].startswith("caffe-viz: ")


@pytest.mark.slow
@pytest.mark.parametrize("command", [*ONCE, *RUNNING])
def test_command_on_a_film_of_full_size(command: str, files: Any, tmp_path: Path) -> None:
    goes_through(command, (ONCE | RUNNING)[command], FILM, files("film"), tmp_path)


def goes_through(command: str, text: str, kind: Kind, folder: Path, out: Path) -> None:
    """Run it: there is what it makes, or the reason of the kind in one line."""
    code, said, errors = ran(command, *arguments(text, kind, folder, out, kind.layer))
    lines = [line for line in errors.splitlines() if not line.startswith("caffe-viz: inputs not given: ")]
    assert "Traceback" not in errors
    if reason := (NOT_IN_PLACES | kind.refused).get(command):
        assert code in (1, 2)
        assert len(lines) == 1
        assert re.search(reason, lines[0])
        return
    assert not code, errors
    assert said
    made = [path for path in out.rglob("*") if path.is_file()]
    assert all(path.stat().st_size for path in made)
    assert made or "{out}" not in text


def arguments(text: str, kind: Kind, folder: Path, out: Path, layer: str) -> list[str]:
    """The words of a command on a net's files."""
    image = folder / "image.npy"
    return text.format(
        net=folder / "deploy.prototxt", weights=folder / "net.caffemodel", layer=layer, out=out,
        one=f"--image {image}", image=" ".join(f"--image {name}{image}" for name in kind.images),
    ).split()  # fmt: skip
