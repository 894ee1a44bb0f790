"""Put the finished parts into one HTML page that loads nothing from the network."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from caffe_viz import tables
from caffe_viz.errors import RunError
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartCache, SavedFigure
from caffe_viz.report.plan import Plan
from caffe_viz.report.sections import about, image_section, layer_section
from caffe_viz.structure import svg
from caffe_viz.views.streams import STATISTICS

if TYPE_CHECKING:
    from markupsafe import Markup

STYLES, SCRIPTS = ("colours.css", "page.css", "graph.css"), ("page.js", "graph.js")


def page(context: ReportContext, cache: PartCache, plan: Plan, beside: bool, command: str) -> bytes:
    """Return the page; its pictures are in it, or with `beside`, only named."""
    environment = templates("caffe_viz.report")
    environment.filters |= {"number": _short, "text": tables.text, "bars": _bars}
    style, script = svg.style() + _static(STYLES), _static(SCRIPTS)

    def source(figure: SavedFigure) -> str:
        if beside:
            return f"{cache.folder.name}/{figure.path.name}"
        kind = "jpeg" if figure.path.suffix == ".jpg" else "png"
        return f"data:image/{kind};base64,{base64.b64encode(figure.path.read_bytes()).decode('ascii')}"

    images = [image_section(context, cache, number) for number in range(len(context.images))]
    layers = [layer_section(context, cache, plan, layer) for layer in context.layers]
    structure = cache.get("structure")
    html: str = environment.get_template("page.html").render(
        context=context,
        policy=_policy(style, script, beside),
        style=_raw(style),
        script=_raw(script),
        source=source,
        about=about(context),
        remarks=context.remarks,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        structure=structure,
        svg=_raw(structure.facts["svg"]) if structure and not structure.failed else None,
        table=tables.layer_table(context.network.geometry),
        indices={str(layer.index) for layer in context.layers},
        images=images,
        layers=layers,
        training=cache.get("training"),
        statistics=STATISTICS[2:],
        waiting=plan.unfinished(),
        failures=sum(len(one.failures) for one in layers),
    )
    return html.encode()


def need_jinja2() -> None:
    """Raise RunError if the library is not installed."""
    if find_spec("jinja2") is None:
        raise RunError("reports need jinja2: pip install 'caffe-viz[report]'.")


@functools.cache  # it keeps the templates that it has compiled
def templates(package: str) -> Any:
    """Return the environment of a package's templates; it escapes all that is not marked as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _static(names: Sequence[str]) -> str:
    folder = resources.files("caffe_viz.report") / "static"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _policy(style: str, script: str, beside: bool) -> str:
    """Content security policy: nothing from outside, and inside only what we wrote."""
    images = "data: 'self' file:" if beside else "data:"
    return (
        f"default-src 'none'; img-src {images}; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _raw(text: str) -> Markup:
    """Mark as HTML: our own files, and the SVG, whose contents are escaped already."""
    from markupsafe import Markup

    return Markup(text)


def _short(value: Any) -> str:
    """Format with four digits, or as a dash if there is no value."""
    return "-" if value is None else f"{value:.4g}"


def _bars(counts: Sequence[int], height: int = 40) -> list[tuple[int, float, float]]:
    """Bars (x, y, height) of width 1 in a box `height` high; heights are square roots, so that tails show."""
    most = max(counts) ** 0.5 or 1
    return [(x, height * (1 - c**0.5 / most), height * c**0.5 / most) for x, c in enumerate(counts) if c]
