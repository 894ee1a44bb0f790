"""The findings of a check, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caffe_viz.errors import InputError
from caffe_viz.markup import html_table
from caffe_viz.netdef import LayerParameter

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One defect: where it is (a layer, a file, or '' for the whole net), and what to do about it."""

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def where(layer: LayerParameter) -> str:
    """How a finding names a layer."""
    return f"layer {layer.name!r} ({layer.type})"


@dataclass(frozen=True)
class Report:
    """All findings in one pair of files; `ok` means that Caffe may load them."""

    prototxt: Path
    weights: Path | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def ok(self) -> bool:
        return not self.errors

    def _repr_html_(self) -> str:
        files = " and ".join(str(path) for path in (self.prototxt, self.weights) if path is not None)
        title = f"{files}: {len(self.errors)} errors, {len(self.warnings)} warnings"
        rows = [(f.severity, f.where, f.message) for f in self.findings]
        return html_table(title, ("severity", "where", "what") if rows else (), rows)

    def raise_for_errors(self) -> None:
        """Raise InputError with the first error and the number of the others."""
        raise_for(self.findings, str(self.prototxt))


def raise_for(findings: tuple[Finding, ...], name: str) -> None:
    """Raise InputError, in one line that begins with the file `name`, if `findings` contain an error."""
    errors = [str(f) for f in findings if f.severity == "error"]
    if not errors:
        return
    first = errors[0] if errors[0].startswith(name) else f"{name}: {errors[0]}"
    others = len(errors) - 1
    more = f" (and {others} more error{'s' * (others > 1)}: `caffe-viz check` lists them)" if others else ""
    raise InputError(" ".join(first.split()) + more)
