"""`caffe-lite diff`: what differs between two nets, or between two files of weights."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .tables import print_table

COLUMNS = [
    ("layer", "left"), ("parameter", "right"), ("shape", "left"), ("max difference", "right"), ("relative", "right"),
    ("", "left"),
]  # fmt: skip


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "diff",
        help="compare two nets, or two files of weights",
        description="Compare two nets field by field, or two files of weights (.caffemodel, .h5, .npz, .safetensors) "
        "value by value. The exit status is 0 if they are the same, 1 if they differ, 2 if they cannot be compared.",
        epilog="Example: caffe-lite diff train_val.prototxt deploy.prototxt",
    )
    parser.add_argument("left", metavar="A", help="a prototxt or a file of weights")
    parser.add_argument("right", metavar="B", help="another one")
    parser.add_argument("--net", action="store_true", help="of two caffemodels compare the nets, not the weights")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="T",
        help="weights count as the same up to this difference, relative to the largest (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-unknown-fields", action="store_true", help="skip fields that Caffe does not have, with a warning each"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare what the files hold."""
    from ..errors import CaffeError

    try:
        if not args.net and all(map(holds_weights, (args.left, args.right))):
            return diff_weights(args)
        return diff_nets(args)
    except CaffeError as error:
        print(f"caffe-lite diff: error: {error}", file=sys.stderr)
        return 2


def holds_weights(path: str) -> bool:
    """Whether a file is binary: weights rather than a prototxt."""
    from ..formats.weights import beginning
    from ..proto.binary import is_binary, other_file

    start = beginning(path)
    return path.endswith(".safetensors") or is_binary(start) or bool(other_file(start))


def diff_nets(args: argparse.Namespace) -> int:
    """A line for each field and layer."""
    from ..net.compare import differences
    from ..proto import upgrade

    left, right = (upgrade.read_net(path, args.allow_unknown_fields) for path in (args.left, args.right))
    found = differences(left, right)
    for where, a, b in found:
        if (a, b) == ("here", ""):
            print(f"{where}: only in {args.left}")
        elif (a, b) == ("", "here"):
            print(f"{where}: only in {args.right}")
        else:
            print(f"{where}: {a or 'not there'} -> {b or 'not there'}")
    count = f"{len(found)} difference{'s' * (len(found) > 1)}"
    print(count if found else f"the nets are the same: {len(left.layer)} layers")
    return bool(found)


def diff_weights(args: argparse.Namespace) -> int:
    """A row for each parameter."""
    from ..formats.compare import compare

    found = compare(args.left, args.right)
    print_table("", COLUMNS, [row(one) for one in found])
    same = sum(one.same(args.tolerance) for one in found)
    within = f" within {args.tolerance:g}" if args.tolerance else ""
    print(f"{len(found)} parameters: {same} the same{within}, {len(found) - same} different")
    return same < len(found)


def row(one: Any) -> list[str]:
    """A comparison as texts."""
    from ..net.summary import shape_text

    start = [one.layer, str(one.index)]
    if not one.comparable:
        shapes = [shape_text(shape) if shape is not None else "not there" for shape in (one.left, one.right)]
        return [*start, " -> ".join(shapes), "", "", "only in one" if None in (one.left, one.right) else "other shape"]
    if one.identical:
        return [*start, shape_text(one.left), "0", "0", "identical"]
    return [*start, shape_text(one.left), f"{one.absolute:.3g}", f"{one.relative:.3g}", ""]
