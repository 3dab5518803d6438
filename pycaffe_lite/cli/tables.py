"""Tables for people: drawn on a terminal, plain aligned columns into a file or pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

Column = tuple[str, str]  # its title, and "left" or "right"


def print_table(
    title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], last: Sequence[str] | None = None
) -> None:
    """Print rows of texts, and a last row of totals set apart."""
    (drawn if sys.stdout.isatty() else plain)(title, columns, rows, last)


def drawn(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], last: Sequence[str] | None) -> None:
    """With rich, as wide as the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for name, side in columns:
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(escape, row))
    if last:
        table.add_section()
        table.add_row(*map(escape, last), style="bold")
    Console(highlight=False).print(table)


def plain(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], last: Sequence[str] | None) -> None:
    """Columns as wide as their widest entry, two spaces apart."""
    lines = [[name for name, _ in columns], *rows, *([last] if last else [])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    if title:
        print(title)
    for line in lines:
        cells = [
            text.rjust(width) if side == "right" else text.ljust(width)
            for text, width, (_, side) in zip(line, widths, columns)
        ]
        print("  ".join(cells).rstrip())


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
