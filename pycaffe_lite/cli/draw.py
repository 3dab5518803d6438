"""`caffe-lite draw`: a picture of a net."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add the verb, with the options of Caffe's draw_net.py."""
    parser = verbs.add_parser(
        "draw",
        help="draw a net",
        description="Draw a net: layers as boxes, blobs as octagons. Pictures need Graphviz; its text (.dot) does not.",
        epilog="Example: caffe-lite draw models/lenet/lenet_train_test.prototxt lenet.svg",
    )
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument(
        "out", metavar="OUT", nargs="?", help="net.png, .svg, .pdf, .dot ... (default: text on standard output)"
    )
    parser.add_argument(
        "--rankdir", choices=("LR", "RL", "TB", "BT"), default="LR", help="direction of the arrows (default: LR)"
    )
    parser.add_argument(
        "--phase", choices=("TRAIN", "TEST", "ALL"), default="ALL", help="only the layers of this phase (default: ALL)"
    )
    parser.add_argument("--display-lrm", action="store_true", help="show the multipliers of learning rates")
    parser.add_argument(
        "--allow-unknown-fields", action="store_true", help="skip fields that Caffe does not have, with a warning each"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw to a file, or print Graphviz's text."""
    from ..draw import draw_net, draw_net_to_file
    from ..proto import caffe_pb2, upgrade

    net = upgrade.read_net(args.net, allow_unknown=args.allow_unknown_fields)
    phase = None if args.phase == "ALL" else getattr(caffe_pb2, args.phase)
    if args.out is None:
        print(draw_net(net, args.rankdir, "dot", phase, args.display_lrm).decode(), end="")
    else:
        draw_net_to_file(net, args.out, args.rankdir, phase, args.display_lrm)
    return 0
