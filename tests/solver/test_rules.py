"""The six update rules against numpy, with decay, multipliers, clipping and iter_size."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import SolverParameter, text
from pycaffe_lite.solver import rules
from pycaffe_lite.solver.solver import Solver

# Parameters of odd sizes, so that lines of the flat buffer have ends that belong to nobody.
NET = """
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 3 dim: 7 } shape { dim: 3 dim: 5 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
        param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "t" top: "loss" }
"""
MULTIPLIERS = [(1, 1), (2, 0)]


def solver(fields: str, **options) -> Solver:
    param = text.parse(
        f'net_param {{ {NET} }} base_lr: 0.1 lr_policy: "fixed" random_seed: 1 {fields}', SolverParameter()
    )
    return Solver(param, dtype=np.float64, **options)


def numpy_rule(kind: str, p, w, g, h, h2, rate, t):
    """One update, in the words of the papers; changes the histories and returns the new value."""
    if kind == "SGD":
        h[...] = p.momentum * h + rate * g
        return w - h
    if kind == "Nesterov":
        before = h.copy()
        h[...] = p.momentum * h + rate * g
        return w - ((1 + p.momentum) * h - p.momentum * before)
    if kind == "AdaGrad":
        h += g * g
        return w - rate * g / (np.sqrt(h) + p.delta)
    if kind == "RMSProp":
        h[...] = p.rms_decay * h + (1 - p.rms_decay) * g * g
        return w - rate * g / (np.sqrt(h) + p.delta)
    if kind == "AdaDelta":
        h[...] = p.momentum * h + (1 - p.momentum) * g * g
        step = g * np.sqrt((p.delta + h2) / (p.delta + h))
        h2[...] = p.momentum * h2 + (1 - p.momentum) * step * step
        return w - rate * step
    h[...] = p.momentum * h + (1 - p.momentum) * g  # Adam
    h2[...] = p.momentum2 * h2 + (1 - p.momentum2) * g * g
    correction = np.sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)
    return w - rate * correction * h / (np.sqrt(h2) + p.delta)


def check_against_numpy(fields: str, steps: int = 4) -> None:
    made = solver(fields)
    p, kind = made.param, rules.find(made.param.type)[0]
    rng = np.random.default_rng(3)
    values = [b.data.copy() for b in made.net.params["a"]]
    histories = [[np.zeros_like(v), np.zeros_like(v)] for v in values]
    for t in range(1, steps + 1):
        made.net.blobs["x"].data[...], made.net.blobs["t"].data[...] = (
            rng.standard_normal((3, 7)),
            rng.standard_normal((3, 5)),
        )
        x, target = made.net.blobs["x"].data, made.net.blobs["t"].data
        error = (x @ values[0].T + values[1] - target) / 3
        gradients = [p.iter_size * error.T @ x, p.iter_size * error.sum(axis=0)]  # iter_size times the same batch
        norm = np.sqrt(sum((g * g).sum() for g in gradients))
        clip = p.clip_gradients / norm if 0 <= p.clip_gradients < norm else 1
        made.step(1)
        for i, (lr_mult, decay_mult) in enumerate(MULTIPLIERS):
            penalty = values[i] if p.regularization_type == "L2" else np.sign(values[i])
            g = gradients[i] * clip / p.iter_size + p.weight_decay * decay_mult * penalty
            values[i] = numpy_rule(kind, p, values[i], g, *histories[i], p.base_lr * lr_mult, t)
            np.testing.assert_allclose(made.net.params["a"][i].data, values[i], rtol=1e-6, atol=1e-9)
    kept = made.update.histories()
    wanted = [h[k] for k in range(rules.RULES[kind].histories) for h in histories]
    for got, want in zip(kept, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


EXTRA = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "",
    "RMSProp": "rms_decay: 0.98",
    "AdaDelta": "momentum: 0.95 delta: 1e-6",
    "Adam": "momentum: 0.9 momentum2: 0.99",
}


@pytest.mark.parametrize("kind", EXTRA)
def test_rule_with_decay(kind):
    check_against_numpy(f'type: "{kind}" weight_decay: 0.01 {EXTRA[kind]}')


@pytest.mark.parametrize(
    "fields",
    [
        "",
        'weight_decay: 0.02 regularization_type: "L1"',
        "iter_size: 3",
        "clip_gradients: 0.5",
        "clip_gradients: 0",
        "clip_gradients: 1e6",
        "clip_gradients: 0.5 iter_size: 2 weight_decay: 0.1",
    ],
)
def test_sgd_with(fields):
    check_against_numpy(f"momentum: 0.9 {fields}")


def test_names_are_found_whatever_their_case():
    assert [rules.find(name)[0] for name in ("sgd", "ADAM", "AdaGrad")] == ["SGD", "Adam", "AdaGrad"]
    with pytest.raises(ConfigError, match="type: unknown solver 'Adamm'; did you mean 'Adam'"):
        rules.find("Adamm")


def test_a_penalty_that_does_not_exist():
    with pytest.raises(ConfigError, match="regularization_type: must be L1 or L2, got 'L3'"):
        solver('regularization_type: "L3"')


def test_zero_weights_have_no_l1_penalty():
    made = solver('weight_decay: 1 regularization_type: "L1"')
    weight, bias = made.net.params["a"]
    weight.data[...], bias.data[...] = 0, 0
    made.step(1)  # inputs and targets are 0: no gradient either
    assert not weight.data.any()


def test_apply_update_takes_one_step():
    made = solver("")
    weight = made.net.params["a"][0]
    before = weight.data.copy()
    weight.diff[...] = 1
    made.apply_update()
    np.testing.assert_allclose(weight.data, before - made.param.base_lr)


def test_a_frozen_parameter_does_not_move_whatever_its_decay():
    frozen = NET.replace("lr_mult: 1 decay_mult: 1", "lr_mult: 0 decay_mult: 1")
    param = text.parse(
        f'net_param {{ {frozen} }} base_lr: 0.1 lr_policy: "fixed" weight_decay: 1 momentum: 0.9', SolverParameter()
    )
    made = Solver(param)
    made.net.blobs["t"].data[...] = 1
    before = [b.data.copy() for b in made.net.params["a"]]
    made.step(3)
    after = [b.data for b in made.net.params["a"]]
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[1], after[1])
