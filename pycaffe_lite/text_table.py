"""Tables as text in aligned columns or as HTML, and numbers in readable units."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Column = tuple[str, str]  # its title, and "left" or "right"
Rows = Sequence[Sequence[str]]


def aligned(columns: Sequence[Column], rows: Rows, last: Sequence[str] | None = None) -> list[str]:
    """Lines of columns as wide as their widest entry, two spaces apart; `last` is a row of totals."""
    lines = [[name for name, _ in columns], *rows, *([last] if last else [])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            text.rjust(width) if side == "right" else text.ljust(width)
            for text, width, (_, side) in zip(line, widths, columns)
        ).rstrip()
        for line in lines
    ]


def html(title: str, columns: Sequence[Column], rows: Rows, last: Sequence[str] | None = None) -> str:
    """The same as an HTML table, for notebooks."""

    def line(cells: Sequence[str], kind: str = "td") -> str:
        made = (f'<{kind} style="text-align: {side}">{escape(c)}</{kind}>' for c, (_, side) in zip(cells, columns))
        return f"<tr>{''.join(made)}</tr>"

    head = line([name for name, _ in columns], "th")
    foot = f"<tfoot>{line(last, 'th')}</tfoot>" if last else ""
    body = "".join(line(row) for row in rows)
    return f"<table><caption>{escape(title)}</caption><thead>{head}</thead><tbody>{body}</tbody>{foot}</table>"


def with_unit(value: float, unit: str = "") -> str:
    """A number in a readable size: 138.4 M, 15.47 G."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g} {prefix}{unit}"
    return f"{value:g}{' ' if unit else ''}{unit}"


def bytes_text(size: float) -> str:
    """Bytes in the unit that suits them: 527.8 MB (of 2^20 bytes)."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:g} B"
