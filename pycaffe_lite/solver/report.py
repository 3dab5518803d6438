"""What a solver tells while it trains. A Report listens; the base class hears everything and says nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Output(NamedTuple):
    """One number of an output blob: its place among all outputs, its blob, its value, its loss weight (or 0)."""

    index: int
    name: str
    value: float
    weight: float


class Report:
    """Override what is of interest."""

    patience = math.inf  # seconds that `iteration` may come late: a GPU that is asked less often is faster

    def solving(self, net_name: str, policy: str) -> None:
        """Training starts."""

    def restoring(self, path: str) -> None:
        """Training goes on from this snapshot."""

    def iteration(self, iteration: int, loss: float, rate: float) -> None:
        """An iteration has been computed; called for every one, on a GPU for many in one go."""

    def display(self, iteration: int, loss: float, speed: float | None, seconds: float, interval: int) -> None:
        """The smoothed loss at a multiple of `display`; speed (iterations/s) is None for the very last line."""

    def train_output(self, output: Output) -> None:
        """One output of the training net, behind `display`."""

    def learning_rate(self, iteration: int, rate: float) -> None:
        """The rate this iteration is taken with, behind `display`."""

    def step_reached(self, iteration: int, policy: str, step: int) -> None:
        """The rate drops for the `step`th time: policy is "MultiStep" or "Plateau"."""

    def clipped(self, iteration: int, norm: float, limit: float) -> None:
        """Gradients were scaled down from this norm to the limit; told at `display`, on the CPU always."""

    def testing(self, iteration: int, net: int) -> None:
        """Test net number `net` starts."""

    def test_progress(self, done: int, total: int) -> None:
        """Batches of the running test."""

    def test_loss(self, loss: float) -> None:
        """The mean loss of a test, with test_compute_loss."""

    def test_output(self, iteration: int, net: int, output: Output) -> None:
        """One output of a test net, averaged over test_iter batches."""

    def tested(self, iteration: int, net: int, outputs: Sequence[Output]) -> None:
        """A test is over; all its averaged outputs at once."""

    def test_interrupted(self) -> None:
        """A test was stopped by request."""

    def snapshot(self, kind: str, path: str) -> None:
        """A file is about to be written; kind is "model" or "state"."""

    def done(self, early: bool) -> None:
        """Training is over, or was stopped by request."""

    def close(self) -> None:
        """Nothing more will come, be it that training is over or that it failed."""


class Reports(Report):
    """Several reports as one."""

    def __init__(self, reports: Sequence[Report] = ()):
        self.all = list(reports)

    @property
    def patience(self) -> float:  # type: ignore[override]
        return min((report.patience for report in self.all), default=math.inf)


def _forward(name: str):  # type: ignore[no-untyped-def]
    def tell(self: Reports, *args: object) -> None:
        for report in self.all:
            getattr(report, name)(*args)

    return tell


for _name in [n for n, value in vars(Report).items() if callable(value) and not n.startswith("_")]:
    setattr(Reports, _name, _forward(_name))
