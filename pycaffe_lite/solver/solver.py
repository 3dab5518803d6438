"""Solver: forward, backward, update, with tests, snapshots and reports at their intervals."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from ..errors import CaffeError, ConfigError, DeviceError
from ..logs import log, tell
from ..net import budget
from ..net.locate import MESSAGE, locating
from ..net.net import Net
from ..paths import find_path
from ..proto import upgrade
from . import check, fit, iterations, keep, policy, resume, rules, snapshot
from .fit import Feed, History
from .judge import Judge
from .nets import NetMaker
from .report import Output, Report, Reports
from .smooth import SmoothedLoss
from .update import Update

if TYPE_CHECKING:
    from ..formats.weights import LoadReport

NONE, STOP, SNAPSHOT = "none", "stop", "snapshot"


class TrainingError(CaffeError, ArithmeticError):
    """The loss is no longer a number; the text says where that began."""


class Solver:
    """Trains the net of a solver.prototxt (or SolverParameter). Raises ConfigError for a wrong one.

    `action` is asked once an iteration what to do: "none", "stop" or "snapshot" (the command line
    answers with what Ctrl-C asked for).
    """

    type = "SGD"

    def __init__(
        self,
        solver: str | os.PathLike[str] | Any,
        *,
        source: str = MESSAGE,
        allow_unknown: bool = False,
        ignore_mismatch: bool = False,
        reports: list[Report] | None = None,
        **net_options: Any,
    ):
        """`solver` is a file, or a SolverParameter; then `source` is the file that it came from, if any."""
        if isinstance(solver, (str, os.PathLike)):
            source, solver = os.fspath(solver), upgrade.read_solver(solver, allow_unknown=allow_unknown)
        self.source, self.param = source, upgrade.upgrade_solver(solver)
        if reports is None:  # heard where somebody listens to the package's log
            from ..cli.caffe_log import CaffeLog

            reports = [CaffeLog()]
        self.report = Reports(reports)
        self.action: Callable[[], str] = lambda: NONE
        self.iter = 0
        self.last_snapshot: str | None = None  # that was written, or that this goes on from
        self.lr_scale = 1.0  # what the policy's rate is multiplied by, once `lr` has been set
        self.history = History()  # of the last `fit`
        self.feeds: dict[Net, Feed] = {}  # what gives nets their inputs, where arrays do
        self.tested_at = -1  # the iteration at which `fit` has ended with a test: none again before it goes on
        self._running = threading.RLock()
        self.untested: dict[str, Any] | None = None  # in the midst of tests: what they began with
        self.callbacks: list[tuple[Callable[[], None], Callable[[], None]]] = []
        with locating(source):
            check.check(self.param)
            if self.param.eval_type != "classification":
                log.warning("eval_type %r is SSD's: tests tell the means of outputs here", self.param.eval_type)
            if self.param.snapshot:
                snapshot.probe(self.param.snapshot_prefix)
        self.smoothed_loss = SmoothedLoss(self.param.average_loss)
        if self.param.random_seed >= 0:
            random.set_random_seed(self.param.random_seed)
        maker = NetMaker(self.param, source, allow_unknown, **net_options)
        with budget.training_with(rules.find(self.param.type)[1].histories):
            self.net: Net = maker.train()
            with budget.explained(self.net.graph):
                self.update = Update(self.net, self.param)
        self.net.is_trained = True
        self.test_nets: list[Net] = maker.tests(self.net)
        self.iterations, self.tallies = iterations.prepare(self)
        self.judge = Judge(self.param)
        with locating(source):
            self.judge.check(len(self.test_nets), self.test_nets[0].outputs if self.test_nets else ())
        for weights in self.param.weights:
            for path in filter(None, map(str.strip, weights.split(","))):
                tell("solver.cpp:58", f"Finetuning from {path}")
                self.copy_from(find_path(path, maker.folder), ignore_mismatch)

    # pycaffe's names ---------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The rate of the next iteration. Setting it scales what the policy gives from here on."""
        return self.rate_of(self.iter)

    @lr.setter
    def lr(self, rate: float) -> None:
        rate, now = _rate("lr", rate), policy.learning_rate(self.param, self.iter, self.judge.drops)
        if rate and not (math.isfinite(now) and now):
            raise ConfigError(
                f"lr: the policy {self.param.lr_policy!r} gives {now:g} at iteration {self.iter}, which "
                f"no factor brings to {rate:g}; set base_lr, or choose another policy"
            )
        self.lr_scale = rate / now if rate else 0.0

    @property
    def base_lr(self) -> float:
        """`base_lr` of the solver's parameters, what its policy starts from; may be set at any time."""
        return self.param.base_lr

    @base_lr.setter
    def base_lr(self, rate: float) -> None:
        self.param.base_lr = _rate("base_lr", rate)

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters of the one that is trained, by layer name, in the same memory."""
        net.share_trained_layers_with(self.net)

    def copy_from(self, path: str | os.PathLike[str], ignore_mismatch: bool = False) -> LoadReport:
        """Start from a file of weights, as Net.copy_from; layers that only test nets have take theirs too."""
        report = self.net.copy_from(path, ignore_mismatch)
        for net in self.test_nets:
            if any(layer.blobs and layer.name not in self.net.layer_dict for layer in net.layers):
                net.copy_from(path, ignore_mismatch)
        return report

    def add_callback(self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None]) -> None:
        """Call the first before every iteration's forward, the second before every update."""
        for call in (on_start, on_gradients_ready):
            if not callable(call):
                raise ConfigError(f"add_callback: takes two functions, got {call!r}")
        self.callbacks.append((on_start, on_gradients_ready))

    def apply_update(self) -> None:
        """Update the parameters from the gradients they have."""
        with self.net.lock:
            self.update.apply(self.lr, self.iter)

    def solve(self, resume_file: str | None = None) -> None:
        """Train to max_iter, from a .solverstate if one is given."""
        if self.param.snapshot_after_train and self.param.snapshot_prefix:
            with locating(self.source):
                snapshot.probe(self.param.snapshot_prefix)
        self.report.solving(self.net.name, self.param.lr_policy)
        if not self.param.HasField("max_iter"):
            log.warning("max_iter is not given, so nothing is trained: give it, or --iterations, or call step()")
        if resume_file:
            self.report.restoring(resume_file)
            self.restore(resume_file)
        stopped = self.train(max(0, self.param.max_iter - self.iter))
        p = self.param
        if p.snapshot_after_train and p.snapshot_prefix and not (p.snapshot and self.iter % p.snapshot == 0):
            self.snapshot()
        if not stopped:
            if p.display and self.iter % p.display == 0:
                loss = self.net.run_forward()
                self.report.display(self.iter, self.smoothed_loss.add(self.iter, loss), None, 0, p.display)
            if p.test_interval and self.iter % p.test_interval == 0:
                self.test_all()
        self.report.done(stopped)

    def step(self, iterations: int) -> float:
        """Train for so many iterations; returns the (averaged) loss of the last one."""
        self.train(iterations)
        return self.smoothed_loss.value

    def fit(
        self,
        iterations: int | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        test_inputs: Mapping[str, Any] | None = None,
        shuffle: bool = True,
        progress: bool | None = None,
    ) -> History:
        """Train for so many iterations, or to max_iter; test at the end; return losses, rates and test results.

        A net with Input layers is fed from `inputs`, {blob name: array of any number of rows}, which are shuffled
        for every round; the test nets from `test_inputs`, in order; later calls go on with them. `progress` shows a
        line that tells how it goes: by default on a terminal and in a notebook. Tests and snapshots happen at their
        intervals, as in `step`. Where training is interrupted, `solver.history` has what was seen until then, and
        training can go on.
        """
        return fit.fit(self, iterations, inputs, test_inputs, shuffle, progress)

    # The loop ----------------------------------------------------------------------------------------------

    def train(self, iterations: int) -> bool:
        """So many iterations; whether it was asked to stop. CaffeError if another thread is in it."""
        if not self._running.acquire(blocking=False):
            raise CaffeError(f"the solver of net {self.net.name!r} is training in another thread")
        try:
            return self._loop(self.iter + iterations)
        except DeviceError as error:
            raise snapshot.with_way_back(error, self) from error
        except KeyboardInterrupt:
            with suppress(CaffeError):
                self.settle()  # what has run ahead is told, and what comes next starts anew
            raise
        finally:
            self._running.release()

    def _loop(self, stop: int) -> bool:
        p = self.param
        self.smoothed_loss.begin(self.iter)
        self._clock, self._displayed = time.perf_counter(), self.iter
        while self.iter < stop:
            due = p.test_interval and self.iter % p.test_interval == 0 and (self.iter or p.test_initialization)
            if due and self.tested_at != self.iter:
                self.settle()
                if self.test_all() == STOP or self.judge.stop:
                    return True
            self.tested_at = -1
            with self.net.lock:  # what another thread runs on this net comes before or behind an iteration
                self.iterate(stop - self.iter)
                self.iter += 1
            action = self.action()
            if action == SNAPSHOT or (p.snapshot and self.iter % p.snapshot == 0):
                self.settle()
                self.snapshot()
            if action == STOP:
                self.settle()
                return True
        self.settle()
        return False

    def iterate(self, remaining: int = 1) -> None:
        """One iteration, the first of `remaining`. On a GPU it runs ahead: its loss is known after `settle`."""
        self.iterations.run(remaining)

    def settle(self) -> None:
        """Learn the losses of all iterations that have run ahead; raises what one of them was stopped by."""
        self.iterations.settle()

    def rate_of(self, iteration: int) -> float:
        """The rate of an iteration, as things are."""
        return self.lr_scale * policy.learning_rate(self.param, iteration, self.judge.drops)

    def is_displayed(self, iteration: int) -> bool:
        """Whether this iteration is one that `display` asks for."""
        return bool(self.param.display) and iteration % self.param.display == 0

    def tell(self, iteration: int, loss: float, rate: float) -> None:
        """Report an iteration, when its loss is known."""
        smoothed, displayed = self.smoothed_loss.add(iteration, loss), self.is_displayed(iteration)
        self.report.iteration(iteration, loss, rate)
        if displayed:
            self._display(smoothed)
        if self.param.lr_policy == "multistep" and iteration in self.param.stepvalue:
            self.report.step_reached(iteration, "MultiStep", policy.steps_reached(self.param, iteration))
        if displayed:
            self.report.learning_rate(iteration, rate)

    def feed(self, net: Net) -> None:
        """Give a net its next batch, if `fit` was given arrays for it."""
        if net in self.feeds:
            self.feeds[net]()

    def _display(self, smoothed: float) -> None:
        seconds = time.perf_counter() - self._clock
        speed = (self.iter - self._displayed) / (seconds or 1)
        self.report.display(self.iter, smoothed, speed, seconds, self.param.display)
        self._clock, self._displayed = time.perf_counter(), self.iter
        for output in outputs(self.net, [self.net.blobs[n].read() for n in self.net.outputs]):
            self.report.train_output(output)

    def not_a_number(self, loss: float) -> TrainingError:
        """The error for such a loss: where it came from, and what to try."""
        where = self.net.first_bad_blob() or "the loss itself"
        return TrainingError(
            f"iteration {self.iter}: the loss is {loss}; the first value that is not finite is in {where}. "
            f"lr is {self.lr:g}: try a smaller base_lr, warm-up, clip_gradients, or check the input's scale and labels"
        )

    # Testing -----------------------------------------------------------------------------------------------

    def test_all(self) -> str:
        """Test every test net; "stop" if that was asked for meanwhile."""
        self.untested = resume.of_tests(self)  # a run stopped in the midst of tests begins with them again
        with self.update.averaged_weights():
            for number in range(len(self.test_nets)):
                if self.test(number) == STOP:
                    return STOP
        self.untested = None
        return NONE

    def test(self, number: int) -> str:
        """Average the outputs of a test net over test_iter batches and report them."""
        net, batches, tally = self.test_nets[number], self.param.test_iter[number], self.tallies[number]
        self.report.testing(self.iter, number)
        tally.begin()
        if net in self.feeds:
            self.feeds[net].begin()
        for done in range(batches):
            action = self.action()
            if action == SNAPSHOT:
                self.snapshot()
            if action == STOP:
                self.report.test_interrupted()
                return STOP
            self.feed(net)
            tally.run()
            self.report.test_progress(done + 1, batches)
        totals, loss = tally.end()
        if self.param.test_compute_loss:
            self.report.test_loss(loss / batches)
        results = outputs(net, [t / batches for t in totals])
        for output in results:
            self.report.test_output(self.iter, number, output)
        self.report.tested(self.iter, number, results)
        if number == 0 and self.judge.is_needed:
            self._judge(results)
        return NONE

    def _judge(self, results: list[Output]) -> None:
        """Draw the consequences of a test."""
        drops = self.judge.drops
        if self.judge.observe(self.iter, results) and self.param.keep_best:
            keep.write_best(self)
        if self.judge.drops > drops:
            self.report.step_reached(self.iter, "Plateau", self.judge.drops)

    # Snapshots ---------------------------------------------------------------------------------------------

    def snapshot(self) -> str:
        """Write model and solver state; returns the path of the state."""
        with self.update.trained_weights():
            keep.write_average(self)
            self.last_snapshot = snapshot.write(self)
        keep.prune(self)
        return self.last_snapshot

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on from a .solverstate; WeightsError if it is not one, or not of this net and solver."""
        snapshot.restore(self, path)
        self.last_snapshot = os.fspath(path)

    def __repr__(self) -> str:
        return f"<{self.param.type} solver of {self.net.name!r} at iteration {self.iter} of {self.param.max_iter}>"


def outputs(net: Net, values: list[np.ndarray]) -> list[Output]:
    """Every number of the net's outputs, with its loss weight."""
    found: list[Output] = []
    for name, array in zip(net.outputs, values):
        weight = net.blob_loss_weights[name]
        found += [Output(len(found) + i, name, float(v), weight) for i, v in enumerate(array.reshape(-1))]
    return found


def _rate(name: str, value: float) -> float:
    """A learning rate; ConfigError if it is none."""
    if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name}: must be a number that is not negative, got {value!r}")
    return float(value)


def get_solver(solver: str | os.PathLike[str] | Any, *, source: str = MESSAGE, **options: Any) -> Solver:
    """The solver of a solver.prototxt (or of a SolverParameter read from `source`), of the type that it names."""
    if isinstance(solver, (str, os.PathLike)):
        source = os.fspath(solver)
        solver = upgrade.read_solver(solver, allow_unknown=options.get("allow_unknown", False))
    param = upgrade.upgrade_solver(solver)
    with locating(source):
        name, _ = rules.find(param.type)
    return TYPES[name](param, source=source, **options)


def _solver_class(name: str) -> type[Solver]:
    def __init__(self: Solver, solver: Any, **options: Any) -> None:
        Solver.__init__(self, solver, **options)

    doc = f"The {name} solver ({rules.RULES[name].source}): {'; '.join(rules.RULES[name].statements)}."
    return type(f"{name}Solver", (Solver,), {"type": name, "__doc__": doc, "__module__": __name__})


TYPES: dict[str, type[Solver]] = {name: _solver_class(name) for name in rules.RULES}
