"""HTML that notebooks show. Names come from network files, so every word is escaped here."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

TALL = "32em"  # what is longer scrolls


def html_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] = ()
) -> str:
    """A table of texts; columns of which `right` is true stand to the right, as numbers do.

    >>> html_table("", ["n"], [["1"]], [True])[-66:]
    '<tr><td style="text-align:right">1</td></tr></tbody></table></div>'
    """
    # Notebooks align every cell to the right unless it says otherwise itself.
    sides = [f'style="text-align:{"right" if r else "left"}"' for r in [*right, *[False] * len(columns)]]
    head = "".join(f"<th {side}>{escape(c)}</th>" for c, side in zip(columns, sides, strict=False))
    body = "".join(
        f"<tr>{''.join(f'<td {side}>{escape(v)}</td>' for v, side in zip(row, sides, strict=False))}</tr>"
        for row in rows
    )
    caption = f'<caption style="text-align:left"><b>{escape(title)}</b></caption>' if title else ""
    return (
        f'<div style="max-height:{TALL};overflow:auto"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def html_lines(lines: Sequence[str]) -> str:
    """One paragraph, line by line."""
    return f"<p>{'<br>'.join(map(escape, lines))}</p>" if lines else ""


def html_picture(png: bytes, words: str) -> str:
    """A PNG within the page; `words` are for those who do not see it."""
    data = b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(words)}" style="max-width:100%">'
