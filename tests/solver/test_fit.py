"""solver.fit: feeding from arrays, history, progress; the rate set by hand; weights shared out."""

from __future__ import annotations

import logging
import sys
import types

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import SolverParameter, text
from pycaffe_lite.solver.fit import Feed, History

NET = """
name: "line"
layer { name: "in" type: "Input" top: "x" top: "label" include { phase: TRAIN }
        input_param { shape { dim: 8 dim: 2 } shape { dim: 8 } } }
layer { name: "in" type: "Input" top: "x" top: "label" include { phase: TEST }
        input_param { shape { dim: 5 dim: 2 } shape { dim: 5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
TESTS = "test_iter: 4 test_interval: 20"


def make(more: str = "", policy: str = 'lr_policy: "fixed"') -> caffe.Solver:
    message = f"net_param {{ {NET} }} base_lr: 0.5 {policy} max_iter: 60 random_seed: 1 {more}"
    return caffe.get_solver(text.parse(message, SolverParameter()))


def points(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Points of the plane, and on which side of a line they are."""
    x = np.random.default_rng(seed).standard_normal((count, 2))
    return {"x": x, "label": (x[:, 0] > x[:, 1]).astype(int)}


# Learning ----------------------------------------------------------------------------------------------------


def test_fit_learns_from_arrays_and_says_what_it_saw(device):
    solver = make(TESTS)
    history = solver.fit(inputs=points(100), test_inputs=points(20, 1))
    assert solver.iter == 60 and history is solver.history
    assert history["iteration"].tolist() == list(range(60)) and (history["lr"] == 0.5).all()
    assert history["loss"][-10:].mean() < 0.5 * history["loss"][0]
    tests = history.tests["acc"]
    assert tests[:, 0].tolist() == [0, 20, 40, 60] and tests[-1, 1] >= 0.9
    assert set(history.tests) == {"acc", "loss"}
    assert dict(history).keys() == {"iteration", "loss", "lr"}


def test_the_test_at_the_end_is_not_made_again_when_training_goes_on():
    solver = make(TESTS)
    assert solver.fit(20, inputs=points(100), test_inputs=points(20)).tests["acc"][:, 0].tolist() == [0, 20]
    assert solver.fit(21).tests["acc"][:, 0].tolist() == [40, 41]
    assert solver.fit(0).tests["acc"][:, 0].tolist() == [41]


def test_step_goes_on_with_the_arrays():
    solver = make()
    solver.fit(3, inputs=points(100))
    before = solver.net.blobs["x"].data.copy()
    solver.step(1)
    assert not np.array_equal(solver.net.blobs["x"].data, before)


def test_fit_works_where_layers_read_the_data():
    param = SolverParameter()
    param.CopyFrom(make().param)
    layer = param.net_param.layer[0]
    layer.ClearField("input_param")
    layer.type = "DummyData"
    text.parse("shape { dim: 8 dim: 2 } shape { dim: 8 }", layer.dummy_data_param)
    solver = caffe.get_solver(param)
    assert len(solver.fit(4)["loss"]) == 4
    with pytest.raises(ConfigError, match="net 'line' reads its data itself, through its data layers"):
        solver.fit(4, inputs=points(9))


# Feeding -----------------------------------------------------------------------------------------------------


def test_every_round_has_every_row_once():
    net = make().net
    feed = Feed(net, {"x": np.arange(22).reshape(11, 2), "label": np.zeros(11)}, shuffle=True)
    seen = []
    for _ in range(11):  # 88 rows: eight rounds
        feed()
        seen += net.blobs["x"].data[:, 0].astype(int).tolist()
    rounds = np.array(seen).reshape(8, 11)
    assert (np.sort(rounds, axis=1) == np.arange(0, 22, 2)).all()
    assert len({tuple(r) for r in rounds}) > 4


def test_without_shuffling_rows_come_in_order():
    net = make().net
    feed = Feed(net, {"x": np.arange(22).reshape(11, 2), "label": np.zeros(11)}, shuffle=False)
    feed()
    feed()
    assert net.blobs["x"].data[:, 0].tolist() == [16, 18, 20, 0, 2, 4, 6, 8]
    feed.begin()
    feed()
    assert net.blobs["x"].data[0, 0] == 0


@pytest.mark.parametrize(
    "inputs, problem",
    [
        ({"x": np.zeros((9, 2))}, "inputs of net 'line' are x, label, got x"),
        ({"x": np.zeros((9, 2)), "labels": np.zeros(9)}, "net 'line' has no input 'labels'; did you mean 'label'?"),
        ({"x": np.zeros((9, 3)), "label": np.zeros(9)}, r"input 'x' must have shape \('n', 2\), got \(9, 3\)"),
        ({"x": np.zeros((9, 2)), "label": np.zeros(8)}, "the same number of rows, .* got x 9, label 8"),
        ({"x": np.zeros((0, 2)), "label": np.zeros(0)}, "at least one; got x 0, label 0"),
        ({"x": np.zeros((9, 2)), "label": ["a"] * 9}, "input 'label' must be numbers"),
    ],
)
def test_inputs_that_do_not_fit(inputs, problem):
    solver = make()
    with pytest.raises(ConfigError, match=problem):
        solver.fit(3, inputs=inputs)
    assert solver.iter == 0


@pytest.mark.parametrize("iterations", [-1, 2.5, "all"])
def test_iterations_that_are_none(iterations):
    with pytest.raises(ConfigError, match="iterations must be a number of iterations, got"):
        make().fit(iterations)


# What is shown -----------------------------------------------------------------------------------------------


def test_history_in_words_and_as_a_curve():
    assert repr(History()) == "<History: no iterations>" and "<svg" not in History()._repr_html_()
    history = make(TESTS).fit(30, inputs=points(50), test_inputs=points(20))
    losses = history["loss"]
    assert repr(history).startswith(
        f"<History: 30 iterations, loss {losses[0]:.4g} to {losses[-1]:.4g}; last test: acc "
    )
    assert history._repr_html_().count("polyline") == 1
    with pytest.raises(KeyError, match="history has iteration, loss, lr and `tests`, no 'acc'"):
        history["acc"]


def test_outputs_with_many_numbers_are_no_measures():
    solver = make(TESTS)
    solver.test_nets[0].outputs.append("ip")
    assert set(solver.fit(2, inputs=points(9), test_inputs=points(9)).tests) == {"acc", "loss"}


def test_progress_on_a_terminal_is_the_command_lines(capfd):
    make().fit(20, inputs=points(50), progress=True)
    assert "Training line to iteration 20" in capfd.readouterr().err
    make().fit(20, inputs=points(50))
    assert capfd.readouterr() == ("", ""), "nobody is there to see it"


def test_progress_in_a_notebook_is_one_line_written_over(monkeypatch):
    shown: list[str] = []
    handle = types.SimpleNamespace(update=lambda text: shown.append(repr(text)))
    ipython = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=lambda *a, **k: handle))
    solver = make(TESTS)
    solver.fit(30, inputs=points(50), test_inputs=points(20))
    assert "iteration 30/30  loss " in shown[-2] + shown[-1] and "test acc " in shown[-1]
    count = len(shown)
    solver.step(5)
    assert len(shown) == count, "it ends with fit"


# The rate ----------------------------------------------------------------------------------------------------


def test_a_rate_that_is_set_scales_the_policy_from_there_on():
    solver = make(policy='lr_policy: "step" gamma: 0.1 stepsize: 10')
    solver.lr = 0.2
    assert solver.lr == pytest.approx(0.2)
    history = solver.fit(20, inputs=points(50))
    np.testing.assert_allclose(history["lr"], [0.2] * 10 + [0.02] * 10)
    solver.base_lr = 5.0
    assert solver.lr == pytest.approx(0.4 * 5 * 0.01)
    solver.lr = 0
    weights = solver.net.params["ip"][0].data.copy()
    solver.step(2)
    np.testing.assert_array_equal(solver.net.params["ip"][0].data, weights)


def test_a_rate_that_is_set_is_that_of_apply_update():
    solver = make()
    solver.lr = 0.125
    blob = solver.net.params["ip"][0]
    blob.data[...], blob.diff[...] = 0, 1
    solver.apply_update()
    np.testing.assert_array_equal(blob.data, np.full((2, 2), -0.125, np.float32))


def test_a_rate_that_is_set_survives_a_snapshot(tmp_path):
    more = f'snapshot_prefix: "{tmp_path / "line"}"'
    solver = make(more)
    solver.fit(2, inputs=points(50))
    solver.lr = 0.125
    state = solver.snapshot()
    other = make(more)
    other.restore(state)
    assert other.lr == pytest.approx(0.125) and other.iter == 2


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf"), "fast", None])
def test_what_is_no_rate(rate):
    solver = make()
    for name in ("lr", "base_lr"):
        with pytest.raises(ConfigError, match=f"{name}: must be a number that is not negative, got"):
            setattr(solver, name, rate)
    assert solver.lr == 0.5


def test_a_policy_that_is_at_zero_cannot_be_scaled():
    solver = make(policy='lr_policy: "poly" power: 1')
    solver.fit(inputs=points(50))
    assert solver.lr == 0
    with pytest.raises(ConfigError, match=r"policy 'poly' gives 0 at iteration 60, which no factor brings to 0.1"):
        solver.lr = 0.1


# Others ------------------------------------------------------------------------------------------------------


def test_weights_are_shared_with_other_nets():
    solver = make()
    other = caffe.Net.from_prototxt(NET)
    solver.share_weights(other)
    solver.fit(5, inputs=points(50))
    np.testing.assert_array_equal(other.params["ip"][0].data, solver.net.params["ip"][0].data)
    x = points(5)
    other.forward(**x)
    np.testing.assert_allclose(
        other.blobs["ip"].data, x["x"] @ solver.net.params["ip"][0].data.T + solver.net.params["ip"][1].data, rtol=1e-5
    )


def test_a_net_that_is_trained_keeps_its_own_memory():
    solver = make()
    with pytest.raises(ConfigError, match=r"'line' is trained by a solver.*; share the other way round"):
        solver.net.share_with(caffe.Net.from_prototxt(NET))


def test_callbacks_are_two_functions():
    with pytest.raises(ConfigError, match="add_callback: takes two functions, got None"):
        make().add_callback(print, None)


def test_training_is_silent_unless_somebody_listens(capfd):
    logging.getLogger("pycaffe_lite").setLevel(logging.NOTSET)
    make("display: 1").fit(3, inputs=points(50))
    assert capfd.readouterr() == ("", "")
