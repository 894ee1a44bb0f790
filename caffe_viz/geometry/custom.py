"""Layer types that the user's files have registered in this process."""

from __future__ import annotations

from pathlib import Path

ENTERED: dict[str, Path] = {}  # type -> the file that entered it last


def custom_types() -> frozenset[str]:
    """Return the types that `layers` files have registered; only the embedded engine computes them."""
    return frozenset(ENTERED)
