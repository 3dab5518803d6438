"""`caffe-lite train`: train the net of a solver.prototxt."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from ..errors import ConfigError
from . import caffe_log
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
        "train",
        help="train the net of a solver.prototxt",
        description="Train the net of a solver.prototxt. On a terminal one live line shows how it goes; "
        "into a file or pipe goes Caffe's log, line for line.",
        epilog="Example: caffe-lite train --solver models/lenet/lenet_solver.prototxt",
    )
    parser.add_argument("--solver", required=True, metavar="FILE", help="the solver.prototxt")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights", metavar="A,B", help="start from the weights of these .caffemodel files (fine-tuning)"
    )
    start.add_argument("--snapshot", metavar="FILE", help="go on from this .solverstate, or from the newest one: auto")
    add_mismatch_option(parser)
    parser.add_argument("--iterations", type=int, metavar="N", help="train to iteration N instead of max_iter")
    for flag, event, default in (("--sigint-effect", "Ctrl-C", "stop"), ("--sighup-effect", "a hang-up", "snapshot")):
        choices, explained = ("stop", "snapshot", "none"), f"what {event} does (default: {default})"
        parser.add_argument(flag, choices=choices, default=default, help=explained)
    parser.add_argument("--log-dir", metavar="DIR", help="also write metrics to DIR/metrics.jsonl")
    add_share_option(parser)
    add_device_options(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def read_solver(args: argparse.Namespace) -> Any:
    """The solver file with the command line's changes."""
    from ..proto import upgrade

    param = upgrade.read_solver(args.solver, allow_unknown=args.allow_unknown_fields)
    if args.iterations is not None:
        if args.iterations < 0:
            raise ConfigError(f"--iterations: must not be negative, got {args.iterations}")
        param.max_iter = args.iterations
    param.train_state.level = args.level
    param.train_state.stage.extend(stages(args))
    return param


def run(args: argparse.Namespace) -> int:
    """Train; the solver's and the net's errors come as one message each."""
    from ..proto import text
    from ..solver.solver import get_solver

    live = sys.stderr.isatty()
    caffe_log.write_log(level=logging.WARNING if live else logging.INFO)
    param = read_solver(args)
    device_line = choose_device(args, param)
    caffe_log.tell("caffe.cpp:211", device_line)
    caffe_log.tell("solver.cpp:44", "Initializing solver from parameters: \n" + text.write_text(param).rstrip("\n"))
    solver = get_solver(
        param,
        source=args.solver,
        reports=reports(args, live, param),
        allow_unknown=args.allow_unknown_fields,
        ignore_mismatch=args.ignore_mismatch,
        share_memory=not (args.no_share or param.debug_info),  # which reads every blob
    )
    caffe_log.tell("solver.cpp:56", "Solver scaffolding done.")
    for path in filter(None, map(str.strip, (args.weights or "").split(","))):
        caffe_log.tell("caffe.cpp:155", f"Finetuning from {path}")
        report = solver.copy_from(path, args.ignore_mismatch)
        if live:
            print(report, file=sys.stderr)
    if args.snapshot == "auto":
        args.snapshot = newest_snapshot(param.snapshot_prefix)
    return train(solver, args)


def newest_snapshot(prefix: str) -> str | None:
    """The solver state to go on from; None, and a warning, if there is none."""
    from ..logs import log
    from ..solver import snapshot

    found = snapshot.newest(prefix)
    if found is None:
        log.warning("--snapshot auto: there is no snapshot %s_iter_* yet, so training starts at iteration 0", prefix)
    return found


def reports(args: argparse.Namespace, live: bool, param: Any) -> list[Any]:
    """Who listens to the run."""
    listening: list[Any] = []
    if live:
        from .live import Live

        listening.append(Live(param.max_iter))
    else:
        listening.append(caffe_log.CaffeLog())
    if args.log_dir:
        from .metrics import Metrics

        listening.append(Metrics(args.log_dir))
    return listening


def train(solver: Any, args: argparse.Namespace) -> int:
    """Solve, with signals doing what they were asked to do."""
    from .signals import Signals

    with Signals(args.sigint_effect, args.sighup_effect) as signals:
        solver.action = signals.action
        caffe_log.tell("caffe.cpp:248", "Starting Optimization")
        try:
            solver.solve(args.snapshot)
        finally:
            solver.report.close()
        caffe_log.tell("caffe.cpp:259", "Optimization Done.")
    return 0
