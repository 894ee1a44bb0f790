"""Help and error messages of the command line: metavars, choices, groups of commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
import typer.core
from typer.models import ParameterInfo

from caffe_viz.cli.completion import COMPLETED
from caffe_viz.errors import InputError, near
from caffe_viz.files import shown

# typer's copy of click, or click itself, which earlier versions of typer stand on.
errors: Any = import_module(typer.BadParameter.__module__)

# What stands for a value in the help, unless its option says it: by the option's name, else by its type.
METAVARS = {
    "prototxt": "PROTOTXT", "weights": "WEIGHTS", "solver": "SOLVER", "layer": "LAYER", "blob": "BLOB",
    "output": "FOLDER", "size": "HxW", "filters": "FILTERS", "target": "UNIT", "objective": "OBJECTIVE",
    "method": "METHOD", "device": "DEVICE", "python_path": "FOLDER", "variant": "TYPE=NAME",
    "input": "NAME=SHAPE", "stage": "NAME", "budget": "SECONDS", "labels": "FILE", "anchors": "ANCHORS",
    "image": "FILE", "photos": "FILE",
}  # fmt: skip
KINDS = {int: "N", float: "NUMBER", Path: "FILE"}
# The commands in the order of the help, under their titles.
GROUPS = {
    "Overview": ("report", "serve"),
    "Structure and weights": ("check", "shapes", "draw", "weights", "parity"),
    "Images": (
        "preprocess", "classify", "activations", "gradient", "attribute", "evaluate", "top", "features",
        "segment", "detect",
    ),
    "Feature visualisation": ("ascend", "dream", "invert", "aux"),
    "Training": ("train", "evolution", "diff"),
    "Files": ("download", "extract", "deploy", "convert", "export"),
}  # fmt: skip
INTERRUPTED = 130  # the shell's exit code of what Ctrl-C ended
NARROW = 70  # columns; in fewer the table of options cuts their names
WORDS = {int: "a whole number", float: "a number"}


def one_of(*choices: str) -> dict[str, Any]:
    """Arguments of `typer.Option` for these choices, which are then shown, completed and checked."""

    def checked(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
        for one in () if value is None else [value] if isinstance(value, str) else value:
            if one not in choices and not ctx.resilient_parsing:
                words = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise InputError(f"{param.opts[0]} {one}: give {words}.")
        return value

    return {"metavar": "|".join(choices), "autocompletion": lambda: list(choices), "callback": checked}


def describe(command: Callable[..., Any]) -> None:
    """Set the metavars and completions of a command's arguments and options that have none."""
    command.__annotations__ = hints_of(command)  # not read from text once more
    for name, hint in command.__annotations__.items():
        for info in _infos(hint):
            info.metavar = info.metavar or METAVARS.get(name) or KINDS.get(_kind(hint))
            info.autocompletion = info.autocompletion or COMPLETED.get(name)


def hints_of(annotated: Any) -> dict[str, Any]:
    """The types of a function's parameters or a class's fields, with what typer is told of them."""
    hints = get_type_hints(annotated, include_extras=True)
    for name, hint in hints.items():
        # Python 3.10 puts Optional around that of a parameter whose default is None.
        hints[name] = next((kind for kind in get_args(hint) if get_origin(kind) is Annotated), hint)
    return hints


def _infos(hint: Any) -> list[ParameterInfo]:
    return [info for info in getattr(hint, "__metadata__", ()) if isinstance(info, ParameterInfo)]


def _kind(hint: Any) -> Any:
    """The type of one value: int for list[int] | None."""
    inner = [kind for kind in get_args(hint) if kind is not type(None)]
    return _kind(inner[0]) if inner else hint


class _Explaining:
    """Mixin of commands: usage errors become InputErrors, and help shows no Python types."""

    rich_markup_mode: typer.core.MarkupMode

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if _is_argument(param):
                param.display_type_rich = lambda ctx: ""  # beside the metavar
            elif param.is_flag:
                param.metavar = ""
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [re.sub(r"^\{(.+)\}", r"\1", piece) for piece in pieces]  # PROTOTXT, not {PROTOTXT}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if get_terminal_size().columns < NARROW:
            self.rich_markup_mode = None
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]
        except errors.UsageError as error:
            raise InputError(_explained(error, ctx, given)) from None


class Command(_Explaining, typer.core.TyperCommand):
    """A command of caffe-viz."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # of a command that has nothing to keep
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


class Commands(_Explaining, typer.core.TyperGroup):
    """The group of all commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = [name for names in GROUPS.values() for name in names]
        known: list[str] = super().list_commands(ctx)
        return sorted(known, key=[*order, *known].index)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise InputError(f"there is no command {args[0]!r}.{near(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def _explained(error: Any, ctx: Any, args: Sequence[str]) -> str:
    """The message for wrong arguments of a command: what is wrong, and what to do."""
    command = ctx.command
    options = {name: p for p in command.get_params(ctx) if not _is_argument(p) for name in p.opts}
    if isinstance(error, errors.NoSuchOption):
        return f"{ctx.info_name} has no option {error.option_name}.{near(error.option_name, options)}"
    if isinstance(error, errors.BadOptionUsage):
        option = options[error.option_name]
        return f"{error.option_name} " + (
            "takes no value." if option.is_flag else f"needs a value: {_label(option)}."
        )
    if isinstance(error, errors.MissingParameter):
        told = error.param.help or ""
        return f"{ctx.info_name} needs {_label(error.param)}: {told[:1].lower()}{told[1:]}"
    values, rest, _ = command.make_parser(ctx).parse_args(args=list(args))
    if isinstance(error, errors.BadParameter):
        return f"{error.param.opts[0]} {values[error.param.name]}: {_expected(error, command)}."
    taken = " and ".join(map(_label, filter(_is_argument, command.params)))
    again = "; an option takes one value: repeat it for more" if _takes_several(options) else ""
    more = ", ".join(repr(shown(one)) for one in rest)
    return f"{ctx.info_name} takes no more than {taken}, not {more}{again}."


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _takes_several(options: Mapping[str, Any]) -> bool:
    return any(param.multiple for param in options.values())


def _label(param: Any) -> str:
    """An argument or option as the user writes it."""
    return str(param.metavar) if _is_argument(param) else f"{param.opts[0]} {param.metavar}"


def _expected(error: Any, command: Any) -> str:
    """What was expected instead of a wrong value."""
    hint = signature(command.callback).parameters[error.param.name].annotation
    words = WORDS.get(_kind(hint))
    if words is None:
        return str(error.message).rstrip(".")
    least, most = next((info.min, info.max) for info in _infos(hint))
    if least is not None:
        words += f" from {least} on" if most is None else f" from {least} to {most}"
    return f"give {words}"
