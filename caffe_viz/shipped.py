"""The shipped networks of prototxt/, whose names can be given instead of paths."""

from __future__ import annotations

from importlib.resources import files as files_of
from pathlib import Path
from typing import TypeVar

from caffe_viz.errors import InputError, near
from caffe_viz.published import PUBLISHED, kept

Given = TypeVar("Given")  # a message, as which a net can be given too


def _folder(name: str) -> Path:
    """A folder of data: within the package where it was installed, beside it in a checkout."""
    package = Path(str(files_of("caffe_viz")))
    return next((path for path in (package / name, package.parent / name) if path.is_dir()), package / name)


def names() -> list[str]:
    """Return the names of the shipped networks."""
    return sorted(path.parent.name for path in _folder("prototxt").glob("*/deploy.prototxt"))


def example() -> Path:
    """The photograph of a cat that is shipped with them."""
    return _folder("examples") / "cat.png"


def files(prototxt: Given, weights: Given | None = None) -> tuple[Given | Path, Given | Path | None]:
    """The two files; where `prototxt` is the name of a shipped network, its own, unless `weights` are given.

    A file or folder of that name is meant before the network. The weights are those shipped, or downloaded
    to the user's cache; None where there are none.

    Raises:
        InputError: it could be a name, and neither a network nor a file has it.
    """
    name = _name(prototxt)
    if name is None:
        return prototxt, weights
    if name not in names():
        raise InputError(f"{name}: no such prototxt, and no shipped network.{near(name, names())}")
    folder = _folder("prototxt") / name
    return folder / "deploy.prototxt", weights or next(folder.glob("*.caffemodel"), kept(name))


def _name(given: object) -> str | None:
    """`given` where it has the form of a name, and no file has it."""
    if not isinstance(given, str | Path) or Path(given).name != str(given) or Path(given).exists():
        return None
    ending = Path(given).suffix
    return str(given) if not ending or ending[1:].isdigit() else None  # squeezenet_v1.1


def weights(given: Given) -> Given | Path:
    """A caffemodel; where a name of `names()` is given, that network's.

    Raises:
        InputError: as `files`, or its weights are not here.
    """
    prototxt, own = files(given)
    if own is None and prototxt is not given:
        raise InputError(f"{given}: its weights are not here.{where_weights_are(prototxt)}")
    return given if own is None else own


def name_of(prototxt: object, weights: object) -> str | None:
    """Return the name that stands for these two files, if there is one."""
    name = Path(prototxt).parent.name if isinstance(prototxt, str | Path) else ""
    return name if name in names() and files(name) == (prototxt, weights) else None


def where_weights_are(prototxt: object) -> str:
    """How to come by the weights of a shipped network, for the end of a line that misses them; or nothing."""
    path = Path(prototxt).absolute() if isinstance(prototxt, str | Path) else Path()
    if path.parent.parent != _folder("prototxt") or path.parent.name not in PUBLISHED:
        return ""
    return f" `caffe-viz download {path.parent.name}` fetches those that are published."
