"""`caffe-lite deploy`: the net for use of a net for training."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_net_options, stages
from .summary import add_shape_option

TOLERANCE = 1e-6  # of the largest score: both nets do the same sums in the same order


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "deploy",
        help="turn a net for training into one for use",
        description="Write the net that gives the scores of a train_val net in its TEST phase: data layers become "
        "Input layers, a SoftmaxWithLoss becomes a Softmax, a SigmoidCrossEntropyLoss a Sigmoid; other losses, "
        "Accuracy, what only labels need, rates and fillers go.",
        epilog="Example: caffe-lite deploy models/lenet/lenet_train_test.prototxt deploy.prototxt",
    )
    parser.add_argument("net", metavar="NET", help="the prototxt of the net for training")
    parser.add_argument("out", metavar="OUT", help="the prototxt to write")
    parser.add_argument(
        "--weights", metavar="FILE", help="weights with which to check that both nets give the same scores"
    )
    parser.add_argument("--drop-dropout", action="store_true", help="leave out Dropout layers, which do nothing in use")
    parser.add_argument(
        "--keep-auxiliary", action="store_true",
        help="keep losses that weigh less than another one of the same labels (by default only the heaviest is kept)",
    )  # fmt: skip
    add_shape_option(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the net, build it, compare it, write it."""
    from ..formats.files import write_whole
    from ..net import offline
    from ..net.deploy import deploy
    from ..net.locate import locating
    from ..proto import text

    param = offline.read_selected(args.net, offline.TEST, args.level, stages(args), args.allow_unknown_fields)
    folder = offline.folder_of(args.net)
    with locating(args.net, param.state):
        shapes = offline.parse_shapes(args.shape, param)
        made = deploy(param, folder, shapes, args.drop_dropout, args.keep_auxiliary)
        graph = offline.graph_of(made.param, folder)
        agreement = check(args, param, shapes, made) if args.weights else ""
    comments = [f"# {line}\n" for line in made.preprocessing]
    write_whole(args.out, ["".join([*comments, text.write_text(made.param)]).encode()])
    print(f"{args.out}: {len(made.param.layer)} layers, outputs {', '.join(graph.outputs)}")
    if made.dropped:
        print(f"dropped: {', '.join(made.dropped)}")
    for line in [*made.preprocessing, *(f"note: {note}" for note in made.notes), *filter(None, [agreement])]:
        print(line)
    return 0


def check(args: argparse.Namespace, param: Any, shapes: Any, made: Any) -> str:
    """Compare the scores of both nets on random input; CaffeError if they differ."""
    from ..formats import weights
    from ..net import offline, probe
    from ..net.net import Net

    before = Net.from_proto(offline.stand_in(param, offline.folder_of(args.net), shapes).param)
    after = Net.from_proto(made.param)
    weights.load(before, args.weights)
    weights.load(after, args.weights)
    worst = probe.refuse_difference(before, after, {name: name for name in made.scores}, TOLERANCE)
    return f"on random input the scores differ by at most {worst:.2g} of the largest"
