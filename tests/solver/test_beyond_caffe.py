"""What caffe-lite's solvers do that Caffe's do not: rules, policies, judging by tests, averaging."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import SolverParameter, text
from pycaffe_lite.solver import policy
from pycaffe_lite.solver.judge import Judge
from pycaffe_lite.solver.report import Output
from pycaffe_lite.solver.solver import Solver

NET = """
layer { name: "in" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def parameter(fields: str):
    return text.parse(fields, SolverParameter())


def solver(fields: str) -> Solver:
    made = Solver(parameter(f'net_param {{ {NET} }} base_lr: 0.1 lr_policy: "fixed" random_seed: 1 {fields}'))
    rng = np.random.default_rng(0)
    made.net.blobs["data"].data[...] = rng.standard_normal((4, 3))
    made.net.blobs["label"].data[...] = rng.standard_normal((4, 2))
    return made


def rates(fields: str, iterations: list[int]) -> list[float]:
    p = parameter(fields)
    policy.check(p)
    return [policy.learning_rate(p, i) for i in iterations]


def test_cosine_falls_from_base_to_minimum():
    got = rates('base_lr: 1 lr_policy: "cosine" max_iter: 10 min_lr: 0.2', [0, 5, 10, 11])
    assert got == pytest.approx([1, 0.6, 0.2, 0.2])


def test_multifixed_takes_the_rate_of_each_stage():
    fields = 'lr_policy: "multifixed" stagelr: 0.5 stagelr: 0.1 stageiter: 10 stageiter: 20'
    assert rates(fields, [0, 10, 11, 20, 21, 99]) == pytest.approx([0.5, 0.5, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("names", [("warmup_iter", "warmup_start_lr"), ("rampup_interval", "rampup_lr")])
def test_warm_up_rises_to_the_policy(names):
    fields = f'base_lr: 1 lr_policy: "step" gamma: 0.1 stepsize: 8 {names[0]}: 4 {names[1]}: 0.2'
    assert rates(fields, [0, 2, 4, 8]) == pytest.approx([0.2, 0.6, 1, 0.1])


def test_warm_up_rises_to_base_lr_whatever_the_policy_says_by_then():
    fields = 'base_lr: 1 lr_policy: "poly" power: 1 max_iter: 10 warmup_iter: 5'
    assert rates(fields, [0, 4, 5, 6]) == pytest.approx([0, 0.8, 0.5, 0.4])
    fields = 'lr_policy: "multifixed" stagelr: 0.5 stageiter: 9 warmup_iter: 2 warmup_start_lr: 0.1'
    assert rates(fields, [0, 1, 2]) == pytest.approx([0.1, 0.3, 0.5])


def test_no_rate_falls_below_the_minimum():
    assert rates('base_lr: 1 lr_policy: "step" gamma: 0.1 stepsize: 1 min_lr: 0.05', [0, 1, 2]) == pytest.approx(
        [1, 0.1, 0.05]
    )
    assert rates('base_lr: 1 lr_policy: "fixed" rampup_interval: 4 min_lr: 0.4', [0, 1, 2]) == pytest.approx(
        [0.4, 0.4, 0.5]
    )


def test_poly_falls_to_the_minimum_as_at_nvidia():
    fields = 'base_lr: 1 lr_policy: "poly" power: 2 max_iter: 10 min_lr: 0.2'
    assert rates(fields, [0, 5, 10, 11]) == pytest.approx([1, 0.2 + 0.8 / 4, 0.2, 0.2])


@pytest.mark.parametrize("kind", ["SGD", "Nesterov"])
@pytest.mark.parametrize(
    "fields, momenta",
    [
        ('momentum_policy: "poly" momentum: 0.5 max_momentum: 0.9 momentum_power: 2 max_iter: 2', [0.5, 0.6, 0.9, 0.9]),
        ('momentum_policy: "opt" momentum: 0.5', [(1 - math.sqrt(0.1) / 2) ** 2] * 4),
        ('momentum_policy: "opt" max_momentum: 0.6', [0.6] * 4),
    ],
)
def test_momentum_has_nvidias_policies(kind, fields, momenta, device):
    made = solver(f'type: "{kind}" {fields}')
    weight = made.net.params["ip"][0]
    history = np.zeros_like(weight.data)
    for momentum in momenta:
        before = weight.data.copy()
        made.net.run_forward()
        made.net.clear_param_diffs()
        made.net.run_backward()
        old, history = history, momentum * history + 0.1 * weight.diff
        made.step(1)
        step = history if kind == "SGD" else (1 + momentum) * history - momentum * old
        np.testing.assert_allclose(weight.data, before - step, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('momentum_policy: "pol"', "momentum_policy: must be one of fixed, poly, opt, got 'pol'; did you mean 'poly'"),
        ('momentum_policy: "poly"', "momentum_policy 'poly' needs max_iter of at least 1, got 0"),
        (
            'momentum_policy: "opt" type: "Adam"',
            "momentum_policy: is for SGD, Nesterov, LARS, and Adam has a fixed one",
        ),
        ('weight_decay_policy: "poly"', "weight_decay_policy: 'poly' is not done here, only 'fixed'"),
        ('larc: true larc_policy: "x"', "larc_policy: 'x' is not done here, only 'scale' and 'clip'"),
        ('type: "AdamW" regularization_type: "L1"', "regularization_type: AdamW decays the weights themselves"),
        ("larc: true larc_turbo: true", "larc_turbo: True is not done here, only False"),
        ("max_momentum: 1", "max_momentum: must be at least 0 and below 1, got 1"),
    ],
)
def test_fields_of_forks_are_done_or_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        solver(fields)


def test_tests_of_detection_are_told_to_be_something_else(caplog):
    solver('eval_type: "detection" ap_version: "11point"')
    assert caplog.messages[0] == "eval_type 'detection' is SSD's: tests tell the means of outputs here"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('base_lr: 1 lr_policy: "cosin"', "did you mean 'cosine'"),
        ('base_lr: 1 lr_policy: "cosine"', "needs max_iter"),
        ('lr_policy: "multifixed" stagelr: 1 stageiter: 1 stageiter: 2', "equally often, got 1 and 2"),
        ('lr_policy: "multifixed" stagelr: nan stageiter: 1', "stagelr: must be at least 0, got nan"),
        ('base_lr: 1 lr_policy: "plateau" gamma: 0.1', "needs plateau_winsize"),
        ('base_lr: 1 lr_policy: "plateau" gamma: 0.1 plateau_winsize: 0', "plateau_winsize: must be at least 1, got 0"),
        ('base_lr: 1 lr_policy: "fixed" warmup_iter: -1', "must not be negative, got -1"),
        ('base_lr: 1 lr_policy: "fixed" warmup_iter: 1 rampup_interval: 1', "give one of them"),
    ],
)
def test_wrong_policies_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        policy.check(parameter(fields))


def test_adamw_decays_weights_apart_from_the_gradient():
    made = solver('type: "AdamW" momentum: 0.9 weight_decay: 0.3')
    plain = solver('type: "Adam" momentum: 0.9')
    weight = made.net.params["ip"][0].data.copy()
    made.step(1)
    plain.step(1)
    wanted = plain.net.params["ip"][0].data - 0.1 * 0.3 * weight
    np.testing.assert_allclose(made.net.params["ip"][0].data, wanted, rtol=1e-5, atol=1e-6)
    # decay_mult: 0 keeps the bias from decaying
    np.testing.assert_allclose(made.net.params["ip"][1].data, plain.net.params["ip"][1].data, rtol=1e-6)


@pytest.mark.parametrize("eta", [0.01, 100.0])
def test_clipped_rates_of_lars_are_at_most_the_rate(eta, device):
    made = solver(f'larc: true larc_policy: "clip" larc_eta: {eta}')
    before = [b.data.copy() for b in made.net.params["ip"]]
    made.net.run_forward()
    made.net.clear_param_diffs()
    made.net.run_backward()
    gradients = [b.diff.copy() for b in made.net.params["ip"]]
    made.step(1)
    for w, g, after, multiplier in zip(before, gradients, made.net.params["ip"], (1, 2)):
        rate = multiplier * min(0.1, eta * np.linalg.norm(w) / np.linalg.norm(g))
        np.testing.assert_allclose(after.data, w - rate * g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fields", ['type: "LARS"', "larc: true"])
def test_lars_scales_each_parameter_by_its_norms(fields):
    made = solver(f"{fields} larc_eta: 0.5 weight_decay: 0.1")
    before = [b.data.copy() for b in made.net.params["ip"]]
    made.net.run_forward()
    made.net.clear_param_diffs()
    made.net.run_backward()
    gradients = [b.diff.copy() for b in made.net.params["ip"]]
    made.step(1)
    for w, g, after, lr, decay in zip(before, gradients, made.net.params["ip"], (0.1, 0.2), (0.1, 0.0)):
        trust = 0.5 * np.linalg.norm(w) / (np.linalg.norm(g) + decay * np.linalg.norm(w))
        np.testing.assert_allclose(after.data, w - lr * trust * (g + decay * w), rtol=1e-5, atol=1e-6)


def test_plateau_drops_when_the_metric_stays():
    judge = Judge(parameter('lr_policy: "plateau" plateau_winsize: 20 plateau_winsize: 10 early_stop: 4'))
    scores = [0.5, 0.6, 0.6, 0.6, 0.6, 0.6]
    drops = []
    for test, score in enumerate(scores):
        judge.observe(test * 10, [Output(0, "loss", 1.0, 1.0), Output(1, "accuracy", score, 0.0)])
        drops.append(judge.drops)
    assert drops == [0, 0, 0, 1, 2, 3]
    assert judge.stop and judge.best_iter == 10


def test_a_loss_is_better_when_smaller():
    judge = Judge(parameter('metric: "loss" keep_best: true'))
    assert [judge.observe(i, [Output(0, "loss", v, 1.0)]) for i, v in enumerate([1.0, 0.5, 0.7])] == [True, True, False]


def test_a_judge_resumes_where_it_was():
    judge = Judge(parameter('lr_policy: "plateau" plateau_winsize: 1'))
    for i in range(3):
        judge.observe(i, [Output(0, "accuracy", 0.5, 0.0)])
    other = Judge(judge.param)
    other.restore(judge.state())
    assert other.state() == judge.state() and not math.isnan(other.best)


def test_judging_needs_a_test_net_and_its_outputs():
    with pytest.raises(ConfigError, match="early_stop: goes by test results, but there is no test net"):
        solver("early_stop: 3")
    tested = f"test_net_param {{ {NET} }} test_iter: 1 test_interval: 5 test_initialization: false"
    with pytest.raises(ConfigError, match="metric: the test net has no output 'los'; did you mean 'loss'"):
        solver(f'early_stop: 3 metric: "los" {tested}')
    solver(f'metric: "los" {tested}')  # by which nothing goes
    with pytest.raises(ConfigError, match="no output 'acuracy'; did you mean 'accuracy'"):
        Judge(parameter('metric: "acuracy"')).observe(0, [Output(0, "accuracy", 1.0, 0.0)])


def test_average_follows_the_weights(tmp_path):
    made = solver(f'ema_decay: 0.75 snapshot_prefix: "{tmp_path}/run"')
    average = made.net.params["ip"][0].data.copy()
    for _ in range(3):
        made.step(1)
        average = 0.75 * average + 0.25 * made.net.params["ip"][0].data
    trained = made.net.params["ip"][0].data.copy()
    with made.update.averaged_weights():
        np.testing.assert_allclose(made.net.params["ip"][0].data, average, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.net.params["ip"][0].data, trained)
    made.snapshot()
    assert (tmp_path / "run_iter_3_ema.caffemodel").exists()


def test_only_the_newest_snapshots_are_kept(tmp_path):
    made = solver(f'snapshot: 1 keep_last: 2 max_iter: 4 snapshot_prefix: "{tmp_path}/run"')
    made.solve()
    kept = {p.name.split(".")[0] for p in tmp_path.iterdir()}
    assert kept == {"run_iter_3", "run_iter_4"}


def test_best_weights_are_kept_and_training_stops_early(tmp_path):
    made = solver(
        "test_iter: 1 test_interval: 1 max_iter: 50 early_stop: 2 keep_best: true base_lr: 0 "
        f'snapshot_prefix: "{tmp_path}/run"'.replace("base_lr: 0 ", "")
    )
    made.update.param.base_lr = 0.0  # nothing is learnt, so nothing improves
    made.solve()
    assert made.iter == 2
    assert (tmp_path / "run_best.caffemodel").exists()
