"""Layer types that the user's files have registered in this process."""

from __future__ import annotations

from pathlib import Path

ENTERED: dict[str, Path] = {}  # type -> the file that entered it last


def custom_types() -> frozenset[str]:
    """The types that files given as `layers` have entered; only the embedded engine computes them."""
    return frozenset(ENTERED)
