"""Tables for people: drawn on a terminal, plain aligned columns into a file or pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..text_table import Column, aligned
from ..text_table import bytes_text as bytes_text
from ..text_table import with_unit as with_unit


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
    if title:
        print(title)
    for line in aligned(columns, rows, last):
        print(line)
