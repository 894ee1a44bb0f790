"""The exceptions of the package: one base class, two kinds of error, one warning.

Every message is one line: what was given, what was expected, near matches, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class CaffeVizError(Exception):
    """Base class of all errors that this package raises on purpose."""

    exit_code = 1


class InputError(CaffeVizError):
    """The input cannot be used: a file, a layer name, an option (exit code 2)."""

    exit_code = 2


class RunError(CaffeVizError):
    """The input was fine, but the run failed: an engine aborted, a download broke (exit code 1)."""


class CaffeVizWarning(UserWarning):
    """Something was ignored so that the net could run: an unknown field, a layer that was left out."""


NO_MEMORY = ("can't allocate memory", "out of memory")  # in what engines raise, on the CPU and on a card


def no_memory(error: BaseException) -> bool:
    """Whether the error says that there is not enough memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


@contextmanager
def about(name: str) -> Iterator[None]:
    """Prefix the InputErrors raised inside with `name`, unless their message contains it already."""
    try:
        yield
    except InputError as error:
        if not name or name in str(error):
            raise
        raise InputError(f"{name}: {error}") from None


def near(name: str, names: Iterable[str]) -> str:
    """End a message about an unknown `name`: the nearest of `names`, or all of them if they are few.

    >>> near("conv_1", ["data", "conv1", "fc8"])
    " Did you mean 'conv1'?"
    >>> near("x", ["data", "conv1"])
    ' There are: data, conv1.'
    """
    known = list(names)
    folded = {n.lower(): n for n in known}
    matches = [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)]
    if matches:
        return f" Did you mean {' or '.join(map(repr, matches))}?"
    shown = known if len(known) <= 12 else [*known[:11], "..."]
    return f" There are: {', '.join(shown)}." if shown else ""


def missing(
    owner: str, kind: str, name: str, names: Iterable[str], left_out: Mapping[str, str]
) -> InputError:
    """Return the error for a layer or blob (`kind`) that `owner` does not have: the reason, or near matches.

    >>> str(missing("the net", "layer", "roi", ["conv1"], {"layer roi": "its type is not known"}))
    "layer 'roi' cannot be computed: its type is not known."
    """
    if f"{kind} {name}" in left_out:
        return InputError(f"{kind} {name!r} cannot be computed: {left_out[f'{kind} {name}']}.")
    return InputError(f"{owner} has no {kind} {name!r}.{near(name, names)}")
