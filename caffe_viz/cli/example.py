"""The option --example of every command that takes an image."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from caffe_viz import shipped
from caffe_viz.cli.options import Inputs
from caffe_viz.cli.usage import hints_of
from caffe_viz.errors import InputError

Example = Annotated[bool, typer.Option("--example", help="Use the shipped photograph of a cat as an image.")]


def with_example(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command with --example next to its --image; unchanged if it takes no image."""
    hints = function.__annotations__ = hints_of(function)
    if hints.get("image") in (None, Inputs):
        return function
    parameters = signature(function).parameters
    needed = parameters["image"].default is Parameter.empty

    @wraps(function)
    def taking(image: list[str] | None = None, example: bool = False, **given: Any) -> Any:
        images = [*(image or ()), *([shipped.example()] if example else ())]
        if needed and not images:
            raise InputError(f"{function.__name__} needs an image: give --image FILE, or --example.")
        return function(image=images or None, **given)

    own = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in parameters.values()]
    at = [p.name for p in own].index("image")
    own[at] = own[at].replace(default=None)
    own.insert(at + 1, Parameter("example", Parameter.KEYWORD_ONLY, default=False))
    taking.__signature__ = signature(function).replace(parameters=own)  # type: ignore[attr-defined]
    taking.__annotations__ = hints | {"example": Example}
    return taking
