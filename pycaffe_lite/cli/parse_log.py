"""`caffe-lite parse-log`: the numbers in a training log, as tables."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
from typing import Any

from .tables import print_table


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "parse-log",
        help="a training log as tables of train and test",
        description="Read Caffe's log, caffe-lite's, or a metrics.jsonl: the iterations with their loss, rate and "
        "outputs, and the tests with theirs.",
        epilog="Example: caffe-lite parse-log train.log --out csv",
    )
    parser.add_argument("log", metavar="LOG", help="the log file")
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", default=".", help="where to write csv files (default: here)"
    )
    parser.add_argument(
        "--out", choices=("csv", "json"),
        help="csv: write LOG.train and LOG.test into DIR, as Caffe's parse_log.py does; json: print it "
        "(default: print tables)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, and write in the form asked for."""
    from ..log_tables import read_log

    log = read_log(args.log)
    tables = {"train": log.train, "test": log.test}
    if args.out == "json":
        print(json.dumps({name: [plain(row) for row in table] for name, table in tables.items()}))
    elif args.out == "csv":
        for name, table in tables.items():
            write_csv(os.path.join(args.folder, f"{os.path.basename(args.log)}.{name}"), log.columns(table), table)
    else:
        for name, table in tables.items():
            columns = log.columns(table)
            rows = [[text(row.get(column, math.nan)) for column in columns] for row in table]
            print_table(f"{name}: {len(table)} rows", [(column, "right") for column in columns], rows)
    return 0


def plain(row: dict[str, float]) -> dict[str, float | None]:
    """A row as JSON has it: NaN and infinities are null."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def text(value: float) -> str:
    """A number for people; nothing for one that is missing."""
    return "" if math.isnan(value) else f"{value:.6g}"


def write_csv(path: str, columns: list[str], table: list[dict[str, float]]) -> None:
    """Write a table, whole or not at all."""
    from ..formats.files import write_whole

    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_whole(path, [file.getvalue().encode()])
    print(f"{path}: {len(table)} rows")
