"""The iterations of a solver, and the batches of its tests; on a GPU without a look at what comes out.

There an iteration is one graph where no layer acts on the host: gradients cleared, forward, loss, backward, update.
What would make it wait lies in device memory. Rates and the like of the coming iterations are a table, of which
each iteration takes its row; losses go into another, which is read when something is to be displayed, tested or
written. A loss that is no number, or a label outside the classes, stops updates and keeps the batch in which it
was found, so that what is told later is what would have been told at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend.gpu.training import note_loss, tally
from ..device import fetch, put
from ..errors import CaffeError, ConfigError
from ..kernel import recording
from ..net import debug
from ..net.locate import locating
from ..net.net import Net
from ..net.run import Runner
from ..net.schedule import Pass
from ..net.script import Extra, Piece, Script
from . import rules

LEAST, MOST = 100, 10000  # iterations that may wait for somebody to ask for their loss
NOT_LAST, LAST_OF_PASS, LAST_OF_ITERATION = 0, 1, 2


class Iterations:
    """The iterations of a solver, whose losses are known at once: what the CPU does, and a GPU where somebody watches.

    Forward is one run of native code, backward another, and the update a third. The first backward of an iteration
    writes gradients, so that they need not be cleared (`net/fresh.py`).
    """

    def __init__(self, solver: Any):
        self.solver, self.net, self.update, self.param = solver, solver.net, solver.update, solver.param
        self._scripts: dict[Any, Script] = {}

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at what an iteration does on its way."""
        debugging = self.param.debug_info or self.net.param.debug_info
        return bool(debugging or self.solver.callbacks or self.net.runner.is_watched)

    def run(self, remaining: int) -> None:
        """Run an iteration, the first of `remaining` that are to come."""
        if self.is_watched:
            self.run_watched()
            return
        size, loss = self.param.iter_size, 0.0
        for number in range(size):
            self.solver.feed(self.net)
            try:
                loss += self._forward()
                self._script("backward", fresh=number == 0).run()
            except CaffeError:
                with locating(self.net.source, self.net.param.state):
                    raise
        self.update.apply(self._tell(loss / size), self.solver.iter)
        self.tell_clipping()

    def _forward(self) -> float:
        """Run forward; returns the loss."""
        runner = self.net.runner
        runner.follow_shapes()
        self._script("forward").run()
        runner.check_faults()
        return self.net.loss()

    def _script(self, direction: Pass, fresh: bool = False) -> Script:
        """A pass over the whole net."""
        made = self._scripts.get((direction, fresh))
        if made is None or not made.is_current:
            made = self._scripts[direction, fresh] = Script(self.net.runner, [direction], fresh)
        return made

    def _tell(self, loss: float) -> float:
        """Let the solver tell of an iteration whose update is to come; returns the rate."""
        if not math.isfinite(loss):
            raise self.solver.not_a_number(loss)
        rate = self.solver.lr
        self.solver.tell(self.solver.iter, loss, rate)
        return rate

    def run_watched(self) -> None:
        """Run an iteration in which others may look at the net between any two layers."""
        solver, net = self.solver, self.net
        self.update.clear()
        for on_start, _ in solver.callbacks:
            on_start()
        debugging = self.param.debug_info and solver.is_displayed(solver.iter)
        net.debug_info = debugging or net.param.debug_info
        loss = 0.0
        for _ in range(self.param.iter_size):
            solver.feed(net)
            loss += net.run_forward()
            if self.update.scaling:
                Piece(net.device, [self.update.scaling.extra]).run()
            net.run_backward()
        rate = self._tell(loss / self.param.iter_size)
        for _, on_gradients_ready in solver.callbacks:
            on_gradients_ready()
        before = [entry.blob.data.copy() for entry in self.update.entries] if debugging else []
        self.update.apply(rate, solver.iter)
        if solver.is_displayed(solver.iter) or not net.device.asynchronous:  # elsewhere to ask is to wait
            self.tell_clipping()
        if debugging:
            debug.update(net.graph, before)

    def tell_clipping(self) -> None:
        """Report that the last update had its gradients clipped, if it had."""
        if norm := self.update.clipped_norm():
            self.solver.report.clipped(self.solver.iter, norm, self.param.clip_gradients)

    def settle(self) -> None:
        """Let the solver tell of all iterations that have run."""


class RunsAhead(Iterations):
    """Iterations on a GPU; the solver tells of each when `settle` has learnt its loss."""

    def __init__(self, solver: Any):
        super().__init__(solver)
        self.device, update = self.net.device, self.update
        self.room = min(MOST, max(LEAST, self.param.display))
        self.width = len(rules.NUMBERS)
        self.table = self.device.zeros(self.room * self.width, update.dtype)
        self.losses, self.counter = self.device.zeros(self.room, np.float64), self.device.zeros(1, np.int64)
        self.pending = 0  # iterations whose loss nobody knows
        self._first, self._rates = 0, []  # the iteration of the table's first row, and the rates in it
        self._source: Any = None  # what these follow from
        self._settled = time.perf_counter()

    def _record_note(self, first: bool, last: int) -> Extra:
        """What notes the loss of a pass, and begins an iteration with the `first` one.

        Recorded with each script: a change of shape may move the blobs.
        """
        update, program = self.update, self.device.program(self.update.dtype)
        faults, go = self.net.runner.faults, rules.NUMBERS.index("go")
        weighted = [
            (t.data_memory, t.count, w) for n in self.net.graph.nodes for t, w in zip(n.top, n.loss_weights) if w
        ]
        arrays = [(memory.array_on(self.device), *rest) for memory, *rest in weighted]
        arrays = arrays or [(update.numbers, 0, 0.0)]
        with recording(program):
            for place, (array, count, weight) in enumerate(arrays, 1):
                begins, ends = first and place == 1, place == len(arrays)
                cleared = update.count if begins else 0
                note_loss(
                    array, count, weight, self.table, self.width, int(begins), last if ends else NOT_LAST,
                    faults.size, go, cleared, max(1, cleared),
                    update.flat_diff, faults, self.losses, self.counter, update.numbers,
                )  # fmt: skip
        return Extra(program, [memory for memory, *_ in weighted], update.gradients if first else [])

    def script(self, first: bool, last: bool) -> Script:
        """One of the passes of an iteration, which has iter_size of them."""
        self.net.runner.follow_shapes()
        made = self._scripts.get((first, last))
        if made is None or not made.is_current:
            note = self._record_note(first, LAST_OF_ITERATION if last else LAST_OF_PASS)
            scaling = [self.update.scaling.extra] if self.update.scaling else []
            parts = ["forward", note, *scaling, "backward"]
            made = Script(self.net.runner, [*parts, *([self.update.extra] if last else [])])
            self._scripts[first, last] = made
        return made

    @property
    def told(self) -> list[tuple[str, int]]:
        """Of each row of an iteration's graphs, once it has run: its name, and the bytes of all arrays it touches."""
        return [row for script in self._scripts.values() for piece in script.pieces for row in piece.chain.told]

    def run(self, remaining: int) -> None:
        """Run an iteration, the first of `remaining` that are to come, and see whether its loss is wanted now."""
        if self.is_watched:
            self.settle()
            self.run_watched()
            return
        solver, size = self.solver, self.param.iter_size
        source = solver.lr_scale, self.param.base_lr, solver.judge.drops
        if source != self._source:
            self.settle()
        if not self.pending:
            self._fill_table(min(self.room, remaining))
        self._source = None  # should this fail half way, the table is not to be gone on with
        with unchecked(self.net.runner):
            for number in range(size):
                solver.feed(self.net)
                self.script(number == 0, number == size - 1).run()
        self._source, self.pending = source, self.pending + 1
        displayed, waited = solver.is_displayed(solver.iter), time.perf_counter() - self._settled
        if displayed or self.pending >= len(self._rates) or waited > solver.report.patience:
            self.settle()
        if displayed:
            self.tell_clipping()
            if self.update.scaling:
                self.update.scaling.tell()

    def _fill_table(self, rows: int) -> None:
        """Let the device know the rates of the coming iterations."""
        solver = self.solver
        if solver.iter == 0:
            self.update.start_average()
        self._first, self._rates = solver.iter, [solver.rate_of(solver.iter + row) for row in range(rows)]
        numbers = [self.update.numbers_of(rate, at) for at, rate in enumerate(self._rates, self._first)]
        self.device.copy_in(self.table[: rows * self.width], np.array(numbers, self.update.dtype))
        put(self.counter, 0)

    def settle(self) -> None:
        """Read the losses of all iterations since this was last done, and let the solver tell.

        Raises what the last of them was stopped by; the solver's `iter` is its number then.
        """
        pending, self.pending = self.pending, 0
        self._settled = time.perf_counter()
        if not pending:
            return
        losses = (fetch(self.losses[:pending]) / self.param.iter_size).tolist()
        stopped = fetch(self.net.runner.faults).any()
        good = int(fetch(self.counter)[0]) if stopped else pending
        for iteration, (loss, rate) in enumerate(zip(losses[:good], self._rates), self._first):
            self.solver.tell(iteration, loss, rate)
        if stopped:
            self.solver.iter = self._first + good
            self.net.runner.check_faults()
            raise self.solver.not_a_number(losses[good])


class Tally:
    """The sums of a test net's outputs, and of its loss, over batches."""

    def __init__(self, net: Net):
        self.net = net

    def begin(self) -> None:
        """Forget what was added up."""
        self.totals: list[np.ndarray] = []
        self.loss = 0.0

    def run(self) -> None:
        """Run a batch."""
        self.loss += self.net.run_forward()
        values = [self.net.blobs[name].read().astype(np.float64) for name in self.net.outputs]
        self.totals = [a + b for a, b in zip(self.totals, values)] or values

    def end(self) -> tuple[list[np.ndarray], float]:
        """The sums of the outputs, and of the loss."""
        return self.totals, self.loss


class TallyOnGpu(Tally):
    """Implements Tally on a GPU: the sums of its outputs over batches, and of its loss, are made there."""

    def __init__(self, net: Net):
        super().__init__(net)
        self.device = net.device
        self.weighted = [(top, w) for n in net.graph.nodes for top, w in zip(n.top, n.loss_weights) if w]
        self.tops = [net.blobs[name] for name in net.outputs] + [top for top, _ in self.weighted]
        self.sums = [self.device.zeros(top.count, np.float64) for top in self.tops]
        self._script: Script | None = None

    def _record(self) -> Script:
        program = self.device.program(self.net.graph.dtype)
        with recording(program):
            for top, total in zip(self.tops, self.sums):
                if top.count != total.size:
                    raise ConfigError(f"blob {top.name!r} has another shape now, so its tests cannot be averaged")
                tally(top.data_memory.array_on(self.device), top.count, total)
        return Script(self.net.runner, ["forward", Extra(program, reads=[top.data_memory for top in self.tops])])

    def begin(self) -> None:
        for total in self.sums:
            put(total, 0)

    def run(self) -> None:
        with self.net.lock, unchecked(self.net.runner):
            self.net.runner.follow_shapes()
            if self._script is None or not self._script.is_current:
                self._script = self._record()
            self._script.run()

    def end(self) -> tuple[list[np.ndarray], float]:
        self.net.runner.check_faults()
        sums = [fetch(total) for total in self.sums]
        loss = sum(
            weight * float(total.sum()) for (_, weight), total in zip(self.weighted, sums[len(self.net.outputs) :])
        )
        return [values.reshape(top.shape) for values, top in zip(sums, self.tops)][: len(self.net.outputs)], loss


def prepare(solver: Any) -> tuple[Iterations, list[Tally]]:
    """What runs a solver's iterations and its tests, on the devices of their nets."""
    tallies = [TallyOnGpu(net) if net.device.asynchronous else Tally(net) for net in solver.test_nets]
    return (RunsAhead if solver.net.device.asynchronous else Iterations)(solver), tallies


@contextmanager
def unchecked(runner: Runner) -> Iterator[None]:
    """In this block the runner looks for no faults, which would make the host wait."""
    runner.checks_faults = False
    try:
        yield
    finally:
        runner.checks_faults = True
