"""What Caffe logs beside the usual: debug_info, steps of the rate, gradients that were clipped."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from pycaffe_lite.cli.caffe_log import CaffeLog
from pycaffe_lite.proto import SolverParameter, text
from pycaffe_lite.solver.solver import Solver

NET = """
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { name: "shared" } param { lr_mult: 0 }
        inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def train(caplog):
    """Trains on ones for so many iterations; returns the solver and the lines logged."""

    def run(fields: str, iterations: int) -> tuple[Solver, list[str]]:
        param = text.parse(f"net_param {{ {NET} }} base_lr: 0.1 {fields}", SolverParameter())
        solver = Solver(param, reports=[CaffeLog()])
        solver.net.blobs["x"].data[...] = 1
        caplog.clear()
        with caplog.at_level(logging.INFO, "pycaffe_lite"):
            solver.step(iterations)
        return solver, caplog.messages

    return run


def test_debug_info_tells_magnitudes_of_everything(train):
    solver, lines = train('lr_policy: "fixed" debug_info: true display: 2', 2)
    assert [line for line in lines if "[" in line] == [
        "    [Forward] Layer in, top blob x data: 1",
        "    [Forward] Layer in, top blob t data: 0",
        "    [Forward] Layer ip, top blob y data: 1.5",
        "    [Forward] Layer ip, param blob shared data: 0.5",
        "    [Forward] Layer ip, param blob 1 data: 0",
        "    [Forward] Layer relu, top blob y data: 1.5",
        "    [Forward] Layer loss, top blob loss data: 2.25",
        # d loss / d y = loss_weight y / 2 for each of 2 x 2
        "    [Backward] Layer loss, bottom blob y diff: 1.5",
        "    [Backward] Layer relu, bottom blob y diff: 1.5",
        "    [Backward] Layer ip, param blob 0 diff: 3",
        "    [Backward] All net params (data, diff): L1 norm = (3, 18); L2 norm = (1.22474, 7.34847)",
        "    [Update] Layer ip, param shared data: 0.5; diff: 0.3",
        "    [Update] Layer ip, param 1 data: 0; diff: 0",
    ], "at the first iteration, and not at the second, which is not displayed"
    assert solver.iter == 2


def test_steps_of_the_rate_are_told_in_front_of_it(train):
    _, lines = train('lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 3 display: 2', 5)
    told = [re.sub(r" \(.*\)", "", line) for line in lines if "Iteration" in line]
    assert [line for line in told if "loss" not in line] == [
        "Iteration 0, lr = 0.1",
        "MultiStep Status: Iteration 2, step = 1",
        "Iteration 2, lr = 0.01",
        "MultiStep Status: Iteration 3, step = 2",
        "Iteration 4, lr = 0.001",
    ]
    assert told.index("MultiStep Status: Iteration 2, step = 1") == 3, "behind the loss"


def test_clipping_is_told_with_the_norm(train):
    solver, lines = train('lr_policy: "fixed" clip_gradients: 5', 3)
    clipped = [line for line in lines if "clipping" in line]
    assert clipped[0] == ("Gradient clipping: scaling down gradients (L2 norm 7.34847 > 5) by scale factor 0.680414")
    assert len(clipped) < 3, "the gradient gets shorter than the limit"
    np.testing.assert_allclose(solver.update.clipped_norm(), 0)
