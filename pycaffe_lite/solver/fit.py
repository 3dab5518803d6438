"""`solver.fit`: training that is fed from arrays, shows how it goes, and gives back what was seen on the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from .. import random
from ..arrays import as_numbers
from ..errors import ConfigError, suggest
from ..net.net import Net
from .report import Output, Report


class History(Report, Mapping[str, np.ndarray]):
    """What a training has seen: `history["loss"]`, `["lr"]` and `["iteration"]`, arrays with one number an iteration.

    `tests` has the results of test nets: {output: array of (iteration, value)}; outputs of the second test net are
    called "accuracy#1", and so on. `pandas.DataFrame(history)` works.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {"iteration": [], "loss": [], "lr": []}
        self._tests: dict[str, list[tuple[int, float]]] = {}

    # as a Report

    def iteration(self, iteration, loss, rate):
        for name, value in (("iteration", iteration), ("loss", loss), ("lr", rate)):
            self._columns[name].append(value)

    def tested(self, iteration: int, net: int, outputs: Sequence[Output]) -> None:
        names = [output.name for output in outputs]
        for output in outputs:
            if names.count(output.name) == 1:  # what has many numbers (scores, say) is no measure
                name = f"{output.name}#{net}" if net else output.name
                self._tests.setdefault(name, []).append((iteration, output.value))

    # as a Mapping

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise KeyError(f"history has {', '.join(self._columns)} and `tests`, no {name!r}")
        return np.array(self._columns[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def tests(self) -> dict[str, np.ndarray]:
        """By output: an array of rows (iteration, value)."""
        return {name: np.array(rows) for name, rows in self._tests.items()}

    def __repr__(self) -> str:
        losses = self._columns["loss"]
        if not losses:
            return "<History: no iterations>"
        last = [f"{name} {rows[-1][1]:.4g}" for name, rows in self._tests.items()]
        tests = f"; last test: {', '.join(last)}" if last else ""
        return f"<History: {len(losses)} iterations, loss {losses[0]:.4g} to {losses[-1]:.4g}{tests}>"

    def _repr_html_(self) -> str:
        """The loss as a curve, for notebooks."""
        losses = np.array(self._columns["loss"])
        caption = f"<figcaption>{escape(repr(self)[1:-1])}</figcaption>"
        if len(losses) < 2:
            return caption
        shown = losses[np.linspace(0, len(losses) - 1, min(len(losses), 600)).astype(int)]
        low, high = float(shown.min()), float(shown.max())
        heights = 110 - 100 * (shown - low) / ((high - low) or 1)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(np.linspace(50, 490, len(shown)), heights))
        labels = "".join(f'<text x="45" y="{y}" text-anchor="end">{v:.3g}</text>' for y, v in ((14, high), (114, low)))
        return (
            f'<figure><svg width="500" height="120" font-size="11" fill="currentColor">{labels}'
            f'<polyline fill="none" stroke="currentColor" points="{points}"/></svg>{caption}</figure>'
        )


class Feed:
    """Gives a net with Input layers its batches, from arrays; shuffled anew in every round if so wanted."""

    def __init__(self, net: Net, arrays: Mapping[str, Any], shuffle: bool):
        if not net.inputs:
            raise ConfigError(f"net {net.name!r} reads its data itself, through its data layers: it takes no inputs")
        for name in arrays:
            if name not in net.inputs:
                raise ConfigError(f"net {net.name!r} has no input {name!r}{suggest(name, net.inputs)}")
        if set(arrays) != set(net.inputs):
            raise ConfigError(f"inputs of net {net.name!r} are {', '.join(net.inputs)}, got {', '.join(arrays)}")
        self.net, self.generator = net, random.new_generator() if shuffle else None
        self.arrays = {name: as_numbers(array, f"input {name!r}") for name, array in arrays.items()}
        self.batch = self._check()
        self.begin()

    def _check(self) -> int:
        """The size of a batch; ConfigError for arrays that do not fit each other or the net."""
        sizes = {self.net.blobs[name].shape[:1] for name in self.arrays}
        rows = {name: len(array) if array.ndim else 0 for name, array in self.arrays.items()}
        if len(sizes) > 1 or () in sizes:
            raise ConfigError(f"inputs of net {self.net.name!r} must have the same batch size to be fed from arrays")
        if len(set(rows.values())) > 1 or 0 in rows.values():
            told = ", ".join(f"{name} {count}" for name, count in rows.items())
            raise ConfigError(f"inputs must have the same number of rows, and at least one; got {told}")
        for name, array in self.arrays.items():
            shape = self.net.blobs[name].shape
            if array.shape[1:] != shape[1:]:
                raise ConfigError(f"input {name!r} must have shape {('n', *shape[1:])}, got {array.shape}")
        self.rows = next(iter(rows.values()))
        return next(iter(sizes))[0]

    def begin(self) -> None:
        """Start with the first row."""
        self._left = np.zeros(0, np.int64)

    def __call__(self) -> None:
        """Write the next batch into the net; a round that ends within it goes over into the next one."""
        while len(self._left) < self.batch:
            order = np.arange(self.rows) if self.generator is None else self.generator.permutation(self.rows)
            self._left = np.concatenate([self._left, order])
        chosen, self._left = self._left[: self.batch], self._left[self.batch :]
        for name, array in self.arrays.items():
            self.net.blobs[name].feed(array[chosen])


class NotebookLine(Report):
    """One line of output in a notebook, written over as training goes on."""

    patience = 0.5

    def __init__(self, last: int):
        from IPython.display import display

        self.last, self.shown, self.tests = last, 0.0, ""
        self.handle: Any = display(_Text("starting"), display_id=True)

    def show(self, text: str) -> None:
        self.handle.update(_Text(text))

    def iteration(self, iteration, loss, rate):
        now = time.monotonic()
        if now - self.shown > 0.2 or iteration + 1 == self.last:
            self.shown = now
            self.show(f"iteration {iteration + 1}/{self.last}  loss {loss:.4g}  lr {rate:.4g}{self.tests}")

    def tested(self, iteration, net, outputs):
        if net == 0:
            self.tests = "  test " + ", ".join(f"{o.name} {o.value:.4g}" for o in outputs[:4])
            self.show(f"iteration {iteration}/{self.last}{self.tests}")


class _Text:
    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def progress_report(last: int, wanted: bool | None) -> Report | None:
    """What shows progress where this runs: a line in a notebook or on a terminal; elsewhere nothing, unless wanted."""
    if wanted is False:
        return None
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        return NotebookLine(last)
    if wanted or sys.stderr.isatty():
        from ..cli.live import Live

        return Live(last)
    return None


@contextmanager
def reporting(reports: list[Report], more: Sequence[Report]) -> Iterator[None]:
    """Let these hear of the training in this block, too."""
    reports.extend(more)
    try:
        yield
    finally:
        for report in more:
            reports.remove(report)
            report.close()


def fit(
    solver: Any,
    iterations: int | None,
    inputs: Mapping[str, Any] | None,
    test_inputs: Mapping[str, Any] | None,
    shuffle: bool,
    progress: bool | None,
) -> History:
    """`Solver.fit`, which see."""
    if iterations is None:
        iterations = max(0, solver.param.max_iter - solver.iter)
    if not isinstance(iterations, (int, np.integer)) or iterations < 0:
        raise ConfigError(f"fit: iterations must be a number of iterations, got {iterations!r}")
    if inputs is not None:
        solver.feeds[solver.net] = Feed(solver.net, inputs, shuffle)
    if test_inputs is not None:
        solver.feeds.update((net, Feed(net, test_inputs, shuffle=False)) for net in solver.test_nets)
    solver.history = History()
    line = progress_report(solver.iter + iterations, progress)
    with reporting(solver.report.all, [solver.history, *([line] if line else [])]):
        if line:
            line.solving(solver.net.name, solver.param.lr_policy)
        stopped = solver.train(iterations)
        if not stopped and solver.param.test_interval and solver.test_nets and solver.test_all() == "none":
            solver.tested_at = solver.iter
    return solver.history
