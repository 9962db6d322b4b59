"""Tables of text: aligned for a terminal, accessible for a page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STYLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"
_CELL = "padding:0.2em 0.7em;border-bottom:1px solid #ddd"


def text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns with two blanks between them: the first to the left, the others to the right.

    >>> print(text(["net", "bytes"], [["dense", "471,000"], ["int8", "145,000"]]))
    net      bytes
    dense  471,000
    int8   145,000
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        ).rstrip()
        for line in lines
    )


def html(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Build a table whose caption, column and row headers a screen reader can announce."""
    head = "".join(
        f'<th scope="col" style="{_CELL};text-align:{"right" if i else "left"}">{escape(name)}</th>'
        for i, name in enumerate(header)
    )
    body = "".join(f"<tr>{_html_row(row)}</tr>" for row in rows)
    return (
        f'<table style="{_STYLE}"><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _html_row(row: Sequence[str]) -> str:
    first = f'<th scope="row" style="{_CELL};text-align:left;white-space:nowrap">{escape(row[0])}</th>'
    return first + "".join(
        f'<td style="{_CELL};text-align:right;white-space:nowrap">{escape(cell)}</td>' for cell in row[1:]
    )
