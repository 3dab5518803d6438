"""`caffe-lite test`: score a trained net on its test data."""

from __future__ import annotations

import argparse
from typing import Any

from . import caffe_log
from .caffe_log import number
from .common import (
    add_device_options,
    add_mismatch_option,
    add_net_options,
    add_share_option,
    choose_device,
    stages,
)


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "test",
        help="score a trained net on its test data",
        description="Run a net in the TEST phase over some batches and average its outputs.",
        epilog="Example: caffe-lite test --model net.prototxt --weights net.caffemodel --iterations 100",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    parser.add_argument("--weights", required=True, metavar="FILE", help="its .caffemodel")
    add_mismatch_option(parser)
    parser.add_argument("--iterations", type=int, default=50, metavar="N", help="batches to run (default: 50)")
    add_share_option(parser)
    add_device_options(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the batches; each one's outputs, then their means."""
    import numpy as np

    from ..errors import ConfigError
    from ..net.net import Net
    from ..proto import caffe_pb2
    from ..solver.solver import outputs

    if args.iterations < 1:
        raise ConfigError(f"--iterations: must be at least 1, got {args.iterations}")
    caffe_log.write_log()
    caffe_log.tell("caffe.cpp:281", choose_device(args))
    how = {"share_memory": not args.no_share, "forward_only": True, "allow_unknown": args.allow_unknown_fields}
    net = Net(args.model, caffe_pb2.TEST, args.level, stages(args), **how)
    net.copy_from(args.weights, args.ignore_mismatch)
    caffe_log.tell("caffe.cpp:287", f"Running for {args.iterations} iterations.")
    totals: list[Any] = [0.0] * len(net.outputs)
    loss = 0.0
    for batch in range(args.iterations):
        loss += net.run_forward()
        values = [net.blobs[name].read().astype(np.float64) for name in net.outputs]
        totals = [a + b for a, b in zip(totals, values)]
        for output in outputs(net, values):
            caffe_log.tell("caffe.cpp:310", f"Batch {batch}, {output.name} = {number(output.value)}")
    caffe_log.tell("caffe.cpp:315", f"Loss: {number(loss / args.iterations)}")
    for output in outputs(net, [t / args.iterations for t in totals]):
        weighted = (
            f" (* {number(output.weight)} = {number(output.weight * output.value)} loss)" if output.weight else ""
        )
        caffe_log.tell("caffe.cpp:327", f"{output.name} = {number(output.value)}{weighted}")
    return 0
