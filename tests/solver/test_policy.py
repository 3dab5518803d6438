"""Learning-rate policies: Caffe's seven formulas, and what each cannot do without."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import SolverParameter, text, upgrade
from pycaffe_lite.solver import check, policy

AT = [0, 1, 9, 10, 11, 25, 99, 100]
FORMULAS = {
    "fixed": ("", lambda i: 0.5),
    "step": ("gamma: 0.25 stepsize: 10", lambda i: 0.5 * 0.25 ** (i // 10)),
    "exp": ("gamma: 0.9375", lambda i: 0.5 * 0.9375**i),
    "inv": ("gamma: 0.125 power: 0.75", lambda i: 0.5 * (1 + 0.125 * i) ** -0.75),
    "multistep": ("gamma: 0.5 stepvalue: [10, 11, 50]", lambda i: 0.5 * 0.5 ** ((i >= 10) + (i >= 11) + (i >= 50))),
    "poly": ("power: 2 max_iter: 100", lambda i: 0.5 * (1 - i / 100) ** 2),
    "sigmoid": ("gamma: -0.5 stepsize: 20", lambda i: 0.5 / (1 + math.exp(0.5 * (i - 20)))),
}


def parameter(fields: str):
    return text.parse(fields, SolverParameter())


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    fields, formula = FORMULAS[name]
    p = parameter(f'lr_policy: "{name}" base_lr: 0.5 {fields}')
    policy.check(p)
    assert [policy.learning_rate(p, i) for i in AT] == pytest.approx([formula(i) for i in AT])


@pytest.mark.parametrize(
    "fields, steps", [("gamma: 1 stepsize: 10", [0, 0, 1]), ("gamma: 1 stepvalue: [1, 10]", [0, 1, 2])]
)
def test_steps_reached_are_those_of_a_solverstate(fields, steps):
    p = parameter(f'lr_policy: "{"multistep" if "stepvalue" in fields else "step"}" base_lr: 1 {fields}')
    assert [policy.steps_reached(p, i) for i in (0, 9, 10)] == steps


@pytest.mark.parametrize(
    "fields, iteration, rate",
    [
        ('lr_policy: "poly" power: 1 max_iter: 10', 11, 0),  # behind the end: 0, not a root of a negative number
        ('lr_policy: "poly" power: -1 max_iter: 10', 10, math.inf),
        ('lr_policy: "exp" gamma: 1e30', 1000, math.inf),
        ('lr_policy: "sigmoid" gamma: 1000 stepsize: 1000', 0, 0),
        ('lr_policy: "sigmoid" gamma: -1000 stepsize: 0', 1000, 0),
        ('lr_policy: "inv" gamma: 0 power: 1', 1000, 1),
        # Fields that are left out are 0, as in Caffe, where that gives a rate.
        ('lr_policy: "inv" gamma: 0.1', 1000, 1),
        ('lr_policy: "multistep"', 1000, 1),
        ('lr_policy: "multistep" stepvalue: 1001 max_iter: 1001', 1000, 1),
        ('lr_policy: "step" stepsize: 1000 max_iter: 1000', 999, 1),
        ('lr_policy: "poly" max_iter: 10', 9, 1),
        ('lr_policy: "sigmoid" gamma: -1', 0, 0.5),
    ],
)
def test_at_the_limits_a_rate_is_still_a_number(fields, iteration, rate):
    p = parameter(fields + " base_lr: 1")
    policy.check(p)
    assert policy.learning_rate(p, iteration) == pytest.approx(rate, abs=1e-300)


@pytest.mark.parametrize(
    "fields, problem",
    [
        ("base_lr: 1", "lr_policy: must be given; one of fixed, step, exp, inv, multistep, poly, sigmoid"),
        ('base_lr: 1 lr_policy: "polly"', "lr_policy: unknown policy 'polly'; did you mean 'poly'"),
        ('lr_policy: "fixed"', "base_lr: must be given"),
        ('base_lr: 1 lr_policy: "step" gamma: 0.1', "lr_policy 'step' needs stepsize"),
        ('base_lr: 1 lr_policy: "step" stepsize: 10', "lr_policy 'step' needs gamma"),
        ('base_lr: 1 lr_policy: "step" stepsize: 10 max_iter: 11', "lr_policy 'step' needs gamma"),
        ('base_lr: 1 lr_policy: "step" gamma: 0.1 stepsize: 0', "stepsize: must be at least 1, got 0"),
        ('base_lr: 1 lr_policy: "exp"', "lr_policy 'exp' needs gamma"),
        ('base_lr: 1 lr_policy: "multistep" stepvalue: 5', "lr_policy 'multistep' needs gamma"),
        ('base_lr: 1 lr_policy: "multistep" gamma: 1 stepvalue: -5', "stepvalue: must be at least 0, got -5"),
        (
            'base_lr: 1 lr_policy: "multistep" gamma: 0.1 stepvalue: [5, 3]',
            r"stepvalue: must be in ascending order, got \[5, 3\]",
        ),
        ('base_lr: 1 lr_policy: "poly" power: 1', "lr_policy 'poly' needs max_iter"),
        ('base_lr: 1 lr_policy: "poly" power: 1 max_iter: 0', "lr_policy 'poly' needs max_iter of at least 1, got 0"),
        (
            'base_lr: 1 lr_policy: "inv" gamma: -0.1 power: 1',
            r"gamma: must not be negative for lr_policy 'inv', got -0\.1",
        ),
        ('base_lr: 1 lr_policy: "exp" gamma: -2', "gamma: must not be negative for lr_policy 'exp', got -2"),
    ],
)
def test_what_cannot_be_computed_is_refused(fields, problem):
    with pytest.raises(ConfigError, match=problem):
        policy.check(parameter(fields))


def test_no_solver_that_people_trained_with_is_refused(shared: Path):
    files = [path for path in (shared / "corpus" / "solvers").rglob("*") if path.is_file()]
    assert len(files) == 150
    for path in files:
        check.check(upgrade.read_solver(path))


def test_nor_one_that_came_with_a_trained_model(shared: Path):
    files = list((shared / "models").rglob("*solver*.prototxt"))
    assert len(files) > 10
    for path in files:
        check.check(upgrade.read_solver(path))
