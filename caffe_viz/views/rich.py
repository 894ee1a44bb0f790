"""How results show themselves in notebooks: pictures, lines, tables as HTML; the first picture as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe_viz.figures import Picture
from caffe_viz.markup import html_lines, html_picture
from caffe_viz.tables import Table


@dataclass(frozen=True)
class Display:
    """What there is to see, in this order."""

    pictures: Sequence[Picture] = ()
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()


class Rich:
    """A result that says in `_look` how it is seen."""

    def _look(self) -> Display:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        look = self._look()
        words = look.tables[0].title if look.tables else type(self).__name__
        return "".join(
            [
                *(html_picture(picture._repr_png_(), words) for picture in look.pictures),
                html_lines(look.lines),
                *(table._repr_html_() for table in look.tables),
            ]
        )

    def _repr_png_(self) -> bytes | None:
        pictures = self._look().pictures
        return pictures[0]._repr_png_() if pictures else None
