"""`caffe-lite upgrade`: nets and solvers of older Caffes, written anew in today's form."""

from __future__ import annotations

import argparse
import os
from typing import Any

TEXT, BINARY = (".prototxt", ".txt", ".pbtxt"), (".caffemodel", ".binaryproto", ".pb", ".bin")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "upgrade",
        help="bring an old net or solver file to today's form",
        description="Write a net (prototxt or caffemodel of any age) or a solver in the form of Caffe 1.0. "
        f"OUT is binary if its name ends in {', '.join(BINARY)}, text if in {', '.join(TEXT)}, else what IN is.",
        epilog="Example: caffe-lite upgrade net old.prototxt new.prototxt",
    )
    parser.add_argument("kind", choices=("net", "solver"), help="what the file holds")
    parser.add_argument("input", metavar="IN", help="the file to read, text or binary")
    parser.add_argument("output", metavar="OUT", help="the file to write; it may be IN itself")
    parser.add_argument(
        "--allow-unknown-fields",
        action="store_true",
        help="leave out fields that Caffe does not have, with a warning each",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, upgrade, write."""
    from ..formats.files import write_whole
    from ..proto import NetParameter, SolverParameter, text, upgrade
    from .caffe_log import write_log

    write_log()
    if args.kind == "net":
        old = text.read(args.input, NetParameter, args.allow_unknown_fields)
        new = upgrade.upgrade_net(old, args.input)
    else:
        old = text.read(args.input, SolverParameter, args.allow_unknown_fields)
        new = upgrade.upgrade_solver(old, args.input)
    binary = wants_binary(args.output, args.input)
    write_whole(args.output, [new.SerializeToString() if binary else text.write_text(new).encode()])
    what = "was up to date already" if new == old else "upgraded"
    print(f"{args.output}: written as {'binary' if binary else 'text'}; {args.input} {what}")
    return 0


def wants_binary(output: str, source: str) -> bool:
    """Whether to write a binary file: as the name says, else as the file that was read."""
    from ..proto.binary import is_binary

    ending = os.path.splitext(output)[1].lower()
    if ending in TEXT + BINARY:
        return ending in BINARY
    with open(source, "rb") as file:
        return is_binary(file.read(1024))
