"""Iterations on a GPU that are not one graph from end to end: host layers, shapes that change, rates that are set."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu

from pycaffe_lite import Layer as PythonLayer
from pycaffe_lite import device as devices
from pycaffe_lite.errors import PythonLayerError
from pycaffe_lite.proto import NetParameter, SolverParameter, text
from pycaffe_lite.solver.report import Report
from pycaffe_lite.solver.solver import Solver

pytestmark = pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")

INPUT = """layer { name: "x" type: "Input" top: "x" top: "t"
           input_param { shape { dim: 4 dim: 5 } shape { dim: 4 dim: 3 } } }"""
IP = """layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s"
        inner_product_param { num_output: %d weight_filler { type: "xavier" } } }"""
LOSS = 'layer { name: "loss%s" type: "EuclideanLoss" bottom: "%s" bottom: "t" top: "loss%s" loss_weight: %g }'
PYTHON = """layer { name: "half" type: "Python" bottom: "a" top: "h"
            python_param { module: "halving_layers" layer: "Half" } propagate_down: true }"""
WITH_PYTHON = [INPUT, IP % ("a", "x", "a", 6), PYTHON, IP % ("b", "h", "b", 3), LOSS % ("", "b", "", 1)]


class Half(PythonLayer):
    """y = x / 2."""

    def setup(self, bottom, top): ...

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data / 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff / 2


def solver_of(layers: list[str], **fields) -> Solver:
    given = {"base_lr": 0.1, "lr_policy": "fixed", "momentum": 0.5, "random_seed": 2} | fields
    return Solver(SolverParameter(net_param=text.parse("\n".join(layers), NetParameter()), **given), reports=[])


def fill(solver: Solver, rows: int = 4) -> None:
    rng = np.random.default_rng(rows)
    for name, width in (("x", 5), ("t", 3)):
        solver.net.blobs[name].reshape(rows, width)
        solver.net.blobs[name].data[...] = rng.standard_normal((rows, width))


def pair(layers: list[str], **fields) -> tuple[Solver, Solver]:
    """The same solver on an emulated GPU and on the CPU."""
    with devices.using(EmulatedGpu()):
        here = solver_of(layers, **fields)
    return here, solver_of(layers, **fields)


def compare(here: Solver, there: Solver) -> None:
    for mine, theirs in zip(here.net.params.values(), there.net.params.values()):
        for a, b in zip(mine, theirs):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("iter_size", [1, 3])
def test_a_layer_on_the_host_cuts_an_iteration_in_three(monkeypatch, iter_size):
    module = ModuleType("halving_layers")
    module.Half = Half
    monkeypatch.setitem(sys.modules, "halving_layers", module)
    here, there = pair(WITH_PYTHON, iter_size=iter_size)
    for solver in (here, there):
        fill(solver)
        solver.step(5)
    compare(here, there)
    scripts = here.iterations._scripts.values()
    assert [len(script.pieces) for script in scripts] == [3] * min(iter_size, 3)
    assert all(piece.chain.graph for script in scripts for piece in script.pieces)


def test_shapes_may_change_between_iterations():
    here, there = pair([INPUT, IP % ("a", "x", "a", 3), LOSS % ("", "a", "", 1)])
    for rows in (4, 4, 4, 2, 7, 7, 7, 4):
        for solver in (here, there):
            fill(solver, rows)
        assert here.step(1) == pytest.approx(there.step(1), rel=1e-5)
    compare(here, there)


def test_a_layer_may_change_shapes_on_the_way(monkeypatch):
    sizes = [3, 5, 5, 5, 2, 6]

    class Grow(Half):
        """Batches of another size each time."""

        def setup(self, bottom, top):
            self.batch = 0

        def reshape(self, bottom, top):
            top[0].reshape(sizes[min(self.batch, 5)], 5)
            top[1].reshape(sizes[min(self.batch, 5)], 3)

        def forward(self, bottom, top):
            top[0].data[...] = np.arange(top[0].data.size).reshape(top[0].data.shape) / 10
            top[1].data[...] = 1
            self.batch += 1

    module = ModuleType("growing_layers")
    module.Grow = Grow
    monkeypatch.setitem(sys.modules, "growing_layers", module)
    source = (
        'layer { name: "x" type: "Python" top: "x" top: "t" python_param { module: "growing_layers" layer: "Grow" } }'
    )
    here, there = pair([source, IP % ("a", "x", "a", 3), LOSS % ("", "a", "", 1)], base_lr=0.01)
    for _ in sizes:
        assert here.step(1) == pytest.approx(there.step(1), rel=1e-5)
    compare(here, there)


def test_all_losses_count_with_their_weights():
    layers = [INPUT, IP % ("a", "x", "a", 3), LOSS % ("1", "a", "1", 0.5), LOSS % ("2", "a", "2", 2)]
    here, there = pair(layers, iter_size=2)
    for solver in (here, there):
        fill(solver)
    assert here.step(4) == pytest.approx(there.step(4), rel=1e-6)
    compare(here, there)


class Rates(Report):
    def __init__(self):
        self.heard = []

    def iteration(self, iteration, loss, rate):
        self.heard.append((iteration, rate))


def test_a_rate_that_is_set_on_the_way_counts_from_the_next_iteration():
    here, there = pair([INPUT, IP % ("a", "x", "a", 3), LOSS % ("", "a", "", 1)], lr_policy="inv", gamma=0.5, power=1)
    reports = []
    for solver in (here, there):
        fill(solver)

        def action(solver=solver):
            if solver.iter == 3:
                solver.lr = 0.3
            if solver.iter == 5:
                solver.base_lr = 0.01
            return "none"

        solver.action = action
        reports.append(Rates())
        solver.report.all.append(reports[-1])
        solver.step(8)
    compare(here, there)
    assert reports[0].heard == reports[1].heard


def test_training_goes_on_behind_an_iteration_that_failed_half_way(monkeypatch):
    class Fails(Half):
        left = 4

        def backward(self, top, propagate_down, bottom):
            super().backward(top, propagate_down, bottom)
            Fails.left -= 1
            if not Fails.left:
                raise ValueError("this once")

    module = ModuleType("halving_layers")
    module.Half = Fails
    monkeypatch.setitem(sys.modules, "halving_layers", module)
    here, there = pair(WITH_PYTHON, lr_policy="inv", gamma=0.5, power=1)
    for solver in (here, there):
        fill(solver)
        Fails.left = 4
        with pytest.raises(PythonLayerError, match="this once"):
            solver.step(9)
        assert solver.iter == 3
        solver.step(5)
    compare(here, there)
    assert here.smoothed_loss.value == pytest.approx(there.smoothed_loss.value, rel=1e-5)


def test_fit_is_fed_from_arrays():
    layers = [INPUT, IP % ("a", "x", "a", 3), LOSS % ("", "a", "", 1)]
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((10, 5)), "t": rng.standard_normal((10, 3))}
    here, there = pair(layers, iter_size=2)
    gpu = here.net.device
    histories = []
    for solver in (here, there):
        histories.append(solver.fit(9, inputs=inputs, shuffle=False, progress=False))
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    np.testing.assert_array_equal(histories[0]["lr"], histories[1]["lr"])
    assert [way for way, _ in gpu.moved].count("behind") == 2 * 2 * 9, "two arrays, twice an iteration"
    compare(here, there)


SLICE = """layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { axis: 1 slice_point: 3 } }
layer { name: "n" type: "Silence" bottom: "b" }"""


def test_a_net_without_parameters_can_be_run():
    here, there = pair([INPUT, SLICE, LOSS % ("", "a", "", 1)])
    for solver in (here, there):
        fill(solver)
    assert here.step(3) == pytest.approx(there.step(3), rel=1e-6)
