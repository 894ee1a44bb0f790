"""Write objectives as text: numbers, names and paths, quoted if they would be read as something else."""

from __future__ import annotations

import re

PLAIN = re.compile(r"[A-Za-z_][\w./-]*(?<!-)", re.ASCII)  # what needs no quotes as a name
PLAIN_PATH = re.compile(r"[^\s,()\"'](?:[^,()\"']*[^\s,()\"'])?")
CENTRE = "centre"


def quoted(text: str) -> str:
    """`text` in double quotes; those within are doubled.

    >>> print(quoted('5" disk'))
    "5"" disk"
    """
    return '"' + text.replace('"', '""') + '"'


def name_text(name: str) -> str:
    """The name of a layer, in quotes where it is no plain word: a digit could begin a number.

    >>> print(name_text("inception_3a/3x3_reduce"), name_text("3x3"))
    inception_3a/3x3_reduce "3x3"
    """
    return name if PLAIN.fullmatch(name) else quoted(name)


def path_text(path: str) -> str:
    """The path of a file, in quotes where it has a comma, brackets or quotes.

    >>> print(path_text("my cat.png"), path_text("a,b.png"))
    my cat.png "a,b.png"
    """
    return path if PLAIN_PATH.fullmatch(path) else quoted(path)


def number_text(number: float) -> str:
    """The shortest text that is read as the same number.

    >>> print(number_text(2.0), number_text(0.1), number_text(1e-7))
    2 0.1 1e-07
    """
    return repr(number).removesuffix(".0")
