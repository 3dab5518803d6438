"""The updates of all solvers on a GPU, over parameters of odd sizes, against the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite import device as devices
from pycaffe_lite.proto import NetParameter, SolverParameter, text
from pycaffe_lite.solver import rules
from pycaffe_lite.solver.solver import Solver

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 3 dim: 5 } shape { dim: 3 dim: 7 }
  data_filler { type: "constant" value: 0.5 } data_filler { type: "constant" value: -1 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 19 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 7 weight_filler {
        type: "gaussian" std: 0.3 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "t" top: "loss" }
"""
EXTRAS = {"plain": {}, "clipped": {"clip_gradients": 0.3}, "larc": {"larc": True}, "averaged": {"ema_decay": 0.5}}


def trained(rule: str, penalty: str, extra: str, momentum: float) -> list[np.ndarray]:
    """The weights after a few iterations."""
    solver = Solver(
        SolverParameter(
            net_param=text.parse(NET, NetParameter()), type=rule, regularization_type=penalty, base_lr=0.02,
            lr_policy="inv", gamma=0.1, power=0.5, momentum=momentum, momentum2=0.99, weight_decay=0.01, delta=1e-4,
            random_seed=5, rms_decay=0.9, iter_size=2, **EXTRAS[extra],
        )
    )  # fmt: skip
    solver.step(4)
    arrays = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
    return [*arrays, *(history.copy() for history in solver.update.histories())]


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("penalty", rules.PENALTIES)
@pytest.mark.parametrize("rule", rules.RULES)
def test_updates_are_those_of_the_cpu(device, rule, penalty, extra):
    if device is devices.CPU:
        pytest.skip("that is what the others are compared with")
    if rules.RULES[rule].decoupled and penalty != "L2":
        pytest.skip("refused: it decays the weights itself")
    momentum = 0 if rule in ("AdaGrad", "RMSProp") else 0.9
    found = trained(rule, penalty, extra, momentum)
    with devices.using(devices.CPU):
        wanted = trained(rule, penalty, extra, momentum)
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)
