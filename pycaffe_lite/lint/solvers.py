"""Rules on solvers: rates over the whole schedule, tests, what is saved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import CaffeError
from ..solver import check, nets, policy
from ..solver.judge import Judge
from .rules import ERROR, HINT, SOLVER, WARNING, Hit, rule
from .view import SolverView

SAMPLES = 2000  # iterations at which the rate is looked at


def refused(solver: SolverView) -> str:
    """Why the solver cannot train at all; empty if it can."""
    try:
        check.check(solver.param)
        nets.training_field(solver.param)
        Judge(solver.param).check(len(nets.test_fields(solver.param)))
    except CaffeError as error:
        return str(error)
    return ""


def rates(p: Any) -> list[tuple[int, float]]:
    """The rate at iterations spread over the schedule, its ends and steps among them."""
    last = max(p.max_iter, 1) - 1
    steps = [*p.stepvalue, *p.stageiter, p.stepsize]
    places = {0, *np.linspace(0, last, SAMPLES).astype(int).tolist(), *(s for s in steps if 0 <= s <= last)}
    return [(at, policy.learning_rate(p, at)) for at in sorted(places)]


@rule("solver-refused", ERROR, SOLVER)
def solver_refused(solver: SolverView) -> Iterator[Hit]:
    """Training would not begin."""
    problem = refused(solver)
    if problem:
        field, _, what = problem.partition(": ")
        yield Hit(what or problem, "see what it says", field=field if what else "")


@rule("learning-rate", ERROR, SOLVER)
def learning_rate(solver: SolverView) -> Iterator[Hit]:
    """A rate of 0 learns nothing; one that is not a number, infinite or negative destroys all weights in one step."""
    p = solver.param
    if refused(solver):
        return
    found = rates(p)
    at, rate = next(((at, rate) for at, rate in found if not math.isfinite(rate) or rate < 0), (0, 0.0))
    if not math.isfinite(rate) or rate < 0:
        yield Hit(
            f"the learning rate is {rate:g} at iteration {at}",
            "check lr_policy, gamma, power and stepsize",
            field="lr_policy",
        )
        return
    highest = max(rate for _, rate in found)
    if highest == 0:
        yield Hit("the learning rate is always 0", "give base_lr a value above 0, such as 0.01", field="base_lr")
        return
    small = next((at for at, rate in found if rate < 1e-9 * highest), None)
    if small is not None and small < 0.9 * p.max_iter:
        yield Hit(
            f"the learning rate is as good as 0 from about iteration {small} on, of {p.max_iter}",
            "raise gamma, or stop at that iteration (max_iter)", field="gamma", level=WARNING,
        )  # fmt: skip


@rule("rate-never-changes", WARNING, SOLVER)
def rate_never_changes(solver: SolverView) -> Iterator[Hit]:
    """A field that is left out is 0 in Caffe, with which these policies keep the rate that they begin with."""
    p = solver.param
    missing = [name for name in policy.SHAPED_BY.get(p.lr_policy, ()) if not policy.is_given(p, name)]
    if missing:
        yield Hit(
            f"{p.lr_policy} without {' and '.join(missing)} keeps its first rate",
            f'give {" and ".join(missing)}, or lr_policy: "fixed"', field="lr_policy",
        )  # fmt: skip


@rule("steps-never-reached", HINT, SOLVER)
def steps_never_reached(solver: SolverView) -> Iterator[Hit]:
    """A step behind the last iteration is never taken: the rate stays what it is."""
    p = solver.param
    field = {"multistep": "stepvalue", "step": "stepsize"}.get(p.lr_policy, "")
    steps = [p.stepsize] if field == "stepsize" else list(p.stepvalue) if field else []
    late = [step for step in steps if step > p.max_iter > 0]
    if late:
        yield Hit(f"{late[0]} is above max_iter {p.max_iter}", "lower it, or raise max_iter", field=field)


@rule("no-iterations", HINT, SOLVER)
def no_iterations(solver: SolverView) -> Iterator[Hit]:
    """Training ends at max_iter; without it, it ends at once."""
    if solver.param.max_iter == 0:
        yield Hit("0, or not given", "give it, or train with --iterations, or step by step in Python", field="max_iter")


@rule("momentum", WARNING, SOLVER)
def momentum(solver: SolverView) -> Iterator[Hit]:
    """Caffe's default momentum is 0; AdaDelta and Adam take it for the share of the past in their averages, so 0
    makes them forget everything at every step."""
    p = solver.param
    kind = p.type.lower()
    if kind in ("adadelta", "adam", "adamw") and p.momentum == 0:
        value = "0.95" if kind == "adadelta" else "0.9"
        level = WARNING if kind == "adadelta" else HINT
        yield Hit(f"{p.type} with momentum 0", f"momentum: {value}", field="type", level=level)


@rule("gradients-clipped-to-nothing", ERROR, SOLVER)
def clipped(solver: SolverView) -> Iterator[Hit]:
    """Gradients longer than clip_gradients are scaled to that length: at 0, all of them vanish."""
    if solver.param.HasField("clip_gradients") and solver.param.clip_gradients == 0:
        yield Hit("clip_gradients: 0", "take it out (-1, the default, does not clip)", field="clip_gradients")


@rule("nothing-saved", WARNING, SOLVER)
def nothing_saved(solver: SolverView) -> Iterator[Hit]:
    """What was learnt is gone when the program ends."""
    p = solver.param
    if not p.snapshot and not p.snapshot_after_train and not p.keep_best:
        yield Hit(
            "no snapshot is ever taken", "snapshot: 5000, or snapshot_after_train: true", field="snapshot_after_train"
        )


@rule("never-tested", HINT, SOLVER)
def never_tested(solver: SolverView) -> Iterator[Hit]:
    """Only a test on other data tells learning from learning by heart."""
    p = solver.param
    names = {layer.name for layer in solver.train.layers} if solver.train else set()
    layers = solver.train.raw.layer if solver.train else []
    for_test = any(layer.name not in names or any(r.phase for r in layer.include) for layer in layers)
    if for_test and not p.test_iter and not p.test_net:
        yield Hit("the net has layers for TEST, but there is no test_iter", "test_iter and test_interval", field="net")


@rule("test-coverage", WARNING, SOLVER)
def test_coverage(solver: SolverView) -> Iterator[Hit]:
    """A test covers test_iter times batch_size samples, going on from where the last one ended: fewer than there are
    test on another part every time, and more count some samples twice."""
    for number, (net, batches) in enumerate(zip(solver.tests, solver.param.test_iter)):
        for source in net.label_sources[:1]:
            block = source.layer.image_data_param if source.layer.type == "ImageData" else source.layer.data_param
            covered, there = batches * block.batch_size, source.entries
            if covered == there or not block.batch_size:
                continue
            what = f"test net {number}: {batches} batches of {block.batch_size} are {covered} samples of {there}"
            exact = -(-there // block.batch_size)
            fix = f"test_iter: {exact}" + (
                "" if there % block.batch_size == 0 else f", and a batch_size that divides {there}"
            )
            yield Hit(what, fix, field="test_iter", level=WARNING if covered < there else HINT)
