"""`caffe-lite merge-bn`: fold BatchNorm and Scale layers into the convolutions in front of them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .common import add_net_options, stages
from .summary import add_shape_option

TOLERANCE = 1e-4  # of the largest value of a blob: float32, rounded in another order through all layers


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "merge-bn",
        help="fold BatchNorm and Scale into the layers in front of them",
        description="Write a net, as it is in the TEST phase, in which BatchNorm, Scale and Bias layers are part of "
        "the Convolution, Deconvolution or InnerProduct in front of them. Both nets are run on random input; files "
        "are written only if they agree.",
        epilog="Example: caffe-lite merge-bn net.prototxt net.caffemodel merged.prototxt merged.caffemodel",
    )
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", metavar="WEIGHTS", help="its .caffemodel (or .h5, .npz, .safetensors)")
    parser.add_argument("out_net", metavar="OUT_NET", help="the prototxt to write")
    parser.add_argument("out_weights", metavar="OUT_WEIGHTS", help="the weights to write, in the format of the suffix")
    add_shape_option(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fold, check, write."""
    from ..errors import ConfigError
    from ..formats import files, weights
    from ..net import merge_bn, offline, probe
    from ..net.locate import locating
    from ..net.net import Net
    from ..proto import text

    param = offline.read_selected(args.net, offline.TEST, args.level, stages(args), args.allow_unknown_fields)
    with locating(args.net, param.state):
        shapes, folder = offline.parse_shapes(args.shape, param), offline.folder_of(args.net)
        before = Net.from_proto(offline.stand_in(param, folder, shapes).param)
        refuse_missing(weights.load(before, args.weights))
        merged = merge_bn.merge(param, probe.arrays(before))
        if not merged.folded:
            reasons = "".join(f"\n  {name!r}: {why}" for name, why in merged.kept.items())
            raise ConfigError(
                f"there is nothing to merge{reasons or ': the net has no BatchNorm, Scale or Bias layer'}"
            )
        after = Net.from_proto(offline.stand_in(merged.param, folder, shapes).param)
    for name, arrays in merged.arrays.items():
        for blob, values in zip(after.params[name], arrays):
            blob.assign(values)
    worst = probe.refuse_difference(before, after, {n: n for n in before.blobs if n in after.blobs}, TOLERANCE)
    with files.replacing(args.out_net, args.out_weights) as (net_file, weights_file):
        files.write(net_file, [text.write_text(offline.without_rules(merged.param)).encode()])
        weights.write(after, weights_file, os.path.splitext(args.out_weights)[1])
    report(merged, worst)
    return 0


def refuse_missing(report: Any) -> None:
    """Refuse weights that lack parameters of the net: what is folded must be known."""
    from ..errors import WeightsError

    if report.missing:
        raise WeightsError(f"weights {report.source}: no parameters for {', '.join(map(repr, report.missing))}")


def report(merged: Any, worst: float) -> None:
    """What was folded, what was not, and how well the nets agree."""
    count = sum(map(len, merged.folded.values()))
    print(f"{count} layers folded into {len(merged.folded)}:")
    for name, gone in merged.folded.items():
        print(f"  {name} <- {', '.join(gone)}")
    for name, why in merged.kept.items():
        print(f"kept {name!r}: {why}")
    print(f"on random input the nets differ by at most {worst:.2g} of a blob's largest value")
