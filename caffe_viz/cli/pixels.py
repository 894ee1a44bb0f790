"""Preprocessing settings from the options of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caffe_viz.images import Preprocess


def preprocess_of(
    prototxt: Path,
    given: Path | None,
    options: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Preprocess:
    """Preprocessing settings from the given file, or the files next to the prototxt, changed by `options`.

    `options` has a value, or None, for keys of preprocess.toml; files in them are relative to where one is.
    `shapes` are those that are given for blobs.

    Raises:
        InputError: names the file or the option.
    """
    from caffe_viz.deploying import settings_near
    from caffe_viz.images import Preprocess
    from caffe_viz.images.settings import checked, read_toml

    fields, said = dict[str, Any](), list[str]()
    for name, value in (options or {}).items():
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else value
            said.append(f"--{name.replace('_', '-')} {text}")
            fields[name] = checked(name, _value(name, value), said[-1], Path())
    found = settings_near(prototxt, shapes) if given is None else read_toml(given)
    return Preprocess.of(found.but(fields, " ".join(said)))


def _value(name: str, text: Any) -> Any:
    """A value as in preprocess.toml: 104,117,123 is a list of numbers, other text a file name."""
    if name == "resize":
        return {"false": False}.get(text.lower(), int(text) if text.isdecimal() else text)
    if name == "mean":
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            return text
        return numbers if len(numbers) > 1 else numbers[0]
    return text
