"""`caffe-lite summary`: layers, shapes, parameters, arithmetic and memory of a net."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .common import add_net_options, stages
from .tables import print_table


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "summary",
        help="layers, shapes, parameters, FLOPs and memory of a net",
        description="Show what a net is made of, in the TRAIN and the TEST phase, without running it. "
        "A multiply-add is an element of a convolution or matrix product; FLOPs are twice those, "
        "and the other operations.",
        epilog="Example: caffe-lite summary models/lenet/lenet_train_test.prototxt",
    )
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), help="only this phase (default: both)")
    add_shape_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_net_options(parser)
    parser.set_defaults(run=run)


def add_shape_option(parser: argparse.ArgumentParser) -> None:
    """--shape, for verbs that can do without the data."""
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=N,C,H,W",
        help="shape of an input or of a data layer's top, as data=1,3,224,224 (may be repeated)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print one table a phase, or one for both if they are alike."""
    notes: list[str] = []
    summaries = [summary_of(args, phase, notes) for phase in phases(args)]
    if args.json:
        print(json.dumps({s.phase: s.as_json() for s in summaries} | {"notes": notes}))
        return 0
    if len(summaries) == 2 and summaries[0].rows == summaries[1].rows:
        summaries = summaries[:1]
        summaries[0].phase = "TRAIN and TEST"
    for number, summary in enumerate(summaries):
        if number:
            print()
        show(summary)
    for note in dict.fromkeys(notes):
        print(f"note: {note}")
    return 0


def phases(args: argparse.Namespace) -> list[str]:
    """The phases to show; a net without a loss, as for deployment, is never trained."""
    from ..net.offline import TRAIN, has_loss, read_selected

    if args.phase:
        return [args.phase]
    train = read_selected(args.net, TRAIN, args.level, stages(args), args.allow_unknown_fields)
    return ["TRAIN", "TEST"] if has_loss(train) else ["TEST"]


def summary_of(args: argparse.Namespace, phase: str, notes: list[str]) -> Any:
    """The summary of the net in one phase; what had to be assumed is added to the notes."""
    from ..net import offline
    from ..net.locate import locating
    from ..net.summary import summarize
    from ..proto import caffe_pb2

    number = getattr(caffe_pb2, phase)
    net = offline.read_selected(args.net, number, args.level, stages(args), args.allow_unknown_fields)
    folder = offline.folder_of(args.net)
    with locating(args.net, net.state):
        standing = offline.stand_in(net, folder, offline.parse_shapes(args.shape, net))
        notes += standing.notes
        return summarize(offline.graph_of(standing.param, folder), phase, standing.types)


def show(summary: Any) -> None:
    """The table of one phase, and its totals in words."""
    print_table(summary.title, *summary.table())
    for line in summary.words():
        print(line)
