"""Caffe's log, line for line: what parse_log.py and ten years of other scripts read."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any, TextIO

from ..solver.report import Output, Report


def number(value: float) -> str:
    """A number as C++ streams print it: six significant digits."""
    return f"{value:g}"


class GlogFormatter(logging.Formatter):
    """`I1103 09:40:41.704751 28430 solver.cpp:44] text`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.localtime(record.created)
        micros = int(record.created % 1 * 1e6)
        level = "W" if record.levelno == logging.WARNING else "E" if record.levelno > logging.WARNING else "I"
        place = getattr(record, "caffe", f"{record.module}.py:{record.lineno}")
        when = f"{time.strftime('%m%d %H:%M:%S', moment)}.{micros:06d}"
        return f"{level}{when} {os.getpid():5d} {place}] {record.getMessage()}"


class Handler(logging.StreamHandler):
    """Writes the log, from level $GLOG_minloglevel on (scripts set it: 2 leaves only errors).

    Where nobody reads it any more, the program ends, instead of going on unheard.
    """

    def filter(self, record: logging.LogRecord) -> Any:
        least = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112
        loud = not least.isdecimal() or record.levelno >= logging.INFO + 10 * int(least)
        return loud and super().filter(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


def write_log(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the package's log to `stream` (standard error) in Caffe's format."""
    handler = Handler(stream or sys.stderr)
    handler.setFormatter(GlogFormatter())
    handler.setLevel(level)
    log = logging.getLogger("pycaffe_lite")
    log.handlers[:] = [handler]
    log.propagate = False


def tell(place: str, text: str) -> None:
    from ..logs import tell as tell_log

    tell_log(place, text)


class CaffeLog(Report):
    """A training run in Caffe's words."""

    def solving(self, net_name, policy):
        tell("solver.cpp:272", f"Solving {net_name}")
        tell("solver.cpp:273", f"Learning Rate Policy: {policy}")

    def restoring(self, path):
        tell("solver.cpp:280", f"Restoring previous solver status from {path}")

    def display(self, iteration, loss, speed, seconds, interval):
        if speed is None:
            tell("solver.cpp:310", f"Iteration {iteration}, loss = {number(loss)}")
            return
        pace = f"{number(speed)} iter/s, {number(seconds)}s/{interval} iters"
        tell("solver.cpp:218", f"Iteration {iteration} ({pace}), loss = {number(loss)}")

    def train_output(self, output):
        tell("solver.cpp:237", f"    Train net output {output_text(output)}")

    def learning_rate(self, iteration, rate):
        tell("sgd_solver.cpp:105", f"Iteration {iteration}, lr = {number(rate)}")

    def step_reached(self, iteration, policy, step):
        tell("sgd_solver.cpp:46", f"{policy} Status: Iteration {iteration}, step = {step}")

    def clipped(self, iteration, norm, limit):
        tell(
            "sgd_solver.cpp:90",
            f"Gradient clipping: scaling down gradients (L2 norm {number(norm)} > {number(limit)}) "
            f"by scale factor {number(limit / norm)}",
        )

    def testing(self, iteration, net):
        tell("solver.cpp:330", f"Iteration {iteration}, Testing net (#{net})")

    def test_loss(self, loss):
        tell("solver.cpp:382", f"Test loss: {number(loss)}")

    def test_output(self, iteration, net, output):
        tell("solver.cpp:397", f"    Test net output {output_text(output)}")

    def test_interrupted(self):
        tell("solver.cpp:377", "Test interrupted.")

    def snapshot(self, kind, path):
        form = "HDF5" if path.endswith(".h5") else "binary proto"
        if kind == "model":
            tell("solver.cpp:447", f"Snapshotting to {form} file {path}")
        else:
            tell("sgd_solver.cpp:273", f"Snapshotting solver state to {form} file {path}")

    def done(self, early):
        if early:
            tell("solver.cpp:295", "Optimization stopped early.")
        else:
            tell("solver.cpp:315", "Optimization Done.")


def output_text(output: Output) -> str:
    """`#1: loss = 2.37286 (* 1 = 2.37286 loss)`."""
    weighted = ""
    if output.weight:
        weighted = f" (* {number(output.weight)} = {number(output.weight * output.value)} loss)"
    return f"#{output.index}: {output.name} = {number(output.value)}{weighted}"
