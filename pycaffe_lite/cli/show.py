"""`caffe-lite show`: any binary file of Caffe's as text."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "show",
        help="print a binary file as text",
        description="Print a .caffemodel, .solverstate, .binaryproto, .h5, .npy, .npz or .safetensors file, or the "
        "entries of an LMDB or LevelDB, as text. Arrays are shown as shape and range.",
        epilog="Example: caffe-lite show net_iter_1000.solverstate",
    )
    parser.add_argument("file", metavar="FILE", help="the file, or the folder of a database")
    parser.add_argument("--full", action="store_true", help="write out all values")
    parser.add_argument("--limit", type=int, default=5, metavar="N", help="entries of a database (default: 5)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print line by line, so that `| head` stops it."""
    from ..formats.show import show

    for line in show(args.file, args.full, args.limit):
        print(line)
    return 0
