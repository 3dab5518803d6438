"""The training loop: which nets, in what order things happen, and what stops it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite import get_solver
from pycaffe_lite.errors import CaffeError, ConfigError
from pycaffe_lite.proto import SolverParameter, text
from pycaffe_lite.solver.report import Report
from pycaffe_lite.solver.solver import Solver, TrainingError

# y = 2x, learnt by one weight: every number of a run can be followed by hand.
NET = """
name: "line"
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 1 } } }
layer { name: "w" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 1 bias_term: false weight_filler { value: 1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
layer { name: "double" type: "Power" bottom: "y" top: "twice" power_param { scale: 2 } include { phase: TEST } }
layer { name: "staged" type: "Power" bottom: "y" top: "staged" include { stage: "extra" } }
"""
BASE = 'base_lr: 0.1 lr_policy: "fixed" random_seed: 1 '


class Heard(Report):
    """Writes down all that a solver tells."""

    def __init__(self):
        self.said: list[tuple] = []

    def names(self) -> list[str]:
        return [name for name, *_ in self.said]


def _listen(name: str):
    return lambda self, *args: self.said.append((name, *args))


for _name in [n for n in vars(Report) if not n.startswith("_")]:
    setattr(Heard, _name, _listen(_name))


def solver(fields: str = "", net: str = f"net_param {{ {NET} }}", report: Report | None = None) -> Solver:
    made = Solver(text.parse(f"{net} {BASE} {fields}", SolverParameter()), reports=[report] if report else [])
    for one in (made.net, *made.test_nets):
        one.blobs["x"].data[...] = [[1], [2]]
        one.blobs["t"].data[...] = [[2], [4]]
    return made


def weight(made: Solver) -> float:
    return float(made.net.params["w"][0].data.item())


def loss_of(w: float) -> float:
    """1/4 ((w - 2)^2 + (2w - 4)^2)."""
    return 1.25 * (w - 2) ** 2


def step_of(w: float, rate: float = 0.1) -> float:
    return w - rate * 2.5 * (w - 2)


# Which nets --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "other.prototxt").write_text(NET.replace('"line"', '"other"'))
    return tmp_path


def from_file(folder: Path, fields: str) -> Solver:
    (folder / "solver.prototxt").write_text(BASE + fields)
    return get_solver(str(folder / "solver.prototxt"))


@pytest.mark.parametrize(
    "fields, train, tests",
    [
        ('net: "net.prototxt"', "line", []),
        ('net: "net.prototxt" test_iter: 1 test_interval: 1', "line", ["line"]),
        ('net: "net.prototxt" test_iter: [1, 2] test_interval: 1', "line", ["line", "line"]),
        ('train_net: "net.prototxt" test_net: "other.prototxt" test_iter: 3 test_interval: 1', "line", ["other"]),
        (
            f'net: "other.prototxt" test_net: "net.prototxt" test_net_param {{ {NET.replace("line", "inline")} }} '
            "test_iter: [1, 2, 3] test_interval: 1",
            "other",
            ["inline", "line", "other"],
        ),
        (f"train_net_param {{ {NET} }}", "line", []),
    ],
)
def test_nets_named_in_every_way(folder, fields, train, tests):
    made = from_file(folder, fields)
    assert made.net.name == train and made.net.phase == caffe.TRAIN
    assert [net.name for net in made.test_nets] == tests
    assert all(net.phase == caffe.TEST and "twice" in net.blobs for net in made.test_nets)
    assert "twice" not in made.net.blobs


def test_states_of_solver_and_net_are_merged_as_in_caffe(folder):
    made = from_file(
        folder,
        'net: "net.prototxt" train_state { stage: "extra" } test_iter: [1, 1] test_interval: 1 '
        'test_state { stage: "extra" level: 2 } test_state { }',
    )
    assert "staged" in made.net.blobs
    assert ["staged" in net.blobs for net in made.test_nets] == [True, False]
    (folder / "net.prototxt").write_text(NET + 'state { stage: "extra" }')
    made = from_file(folder, 'net: "net.prototxt" test_iter: 1 test_interval: 1')
    assert "staged" in made.net.blobs and "staged" in made.test_nets[0].blobs


def test_test_nets_use_the_trained_parameters_as_they_are_now():
    made = solver("test_iter: 1 test_interval: 100")
    made.step(3)
    other = made.test_nets[0].params["w"][0]
    assert other.data_memory is made.net.params["w"][0].data_memory
    assert float(other.data.item()) == weight(made) != 1


def test_the_type_named_in_the_file_is_made(folder):
    made = from_file(folder, 'net: "net.prototxt" type: "Adam" momentum: 0.9')
    assert type(made) is caffe.AdamSolver and isinstance(made, Solver)
    assert repr(made) == "<Adam solver of 'line' at iteration 0 of 0>"
    assert from_file(folder, 'net: "net.prototxt" solver_type: NESTEROV').param.type == "Nesterov"


# The order of things -----------------------------------------------------------------------------------------


def test_step_trains_and_returns_the_loss():
    made = solver("max_iter: 100")
    assert made.step(1) == pytest.approx(loss_of(1))
    assert weight(made) == pytest.approx(step_of(1)) and made.iter == 1
    assert made.step(2) == pytest.approx(loss_of(step_of(step_of(1))))
    assert made.iter == 3
    assert made.step(0) == 0 or made.iter == 3


def test_step_returns_the_mean_of_the_last_losses():
    made, single = solver("average_loss: 3"), solver()
    losses = [single.step(1) for _ in range(5)]
    assert made.step(5) == pytest.approx(np.mean(losses[-3:]))
    assert made.step(2) == pytest.approx(np.mean([single.step(1) for _ in range(2)])), "each call begins anew"


def test_iter_size_averages_gradients_and_losses_of_as_many_batches():
    made, seen = solver("iter_size: 4"), []
    made.net.before_forward(lambda index: seen.append(index))
    assert made.step(1) == pytest.approx(loss_of(1))
    assert weight(made) == pytest.approx(step_of(1))
    assert len(seen) == 4 * len(made.net.layers)


def test_a_run_from_beginning_to_end(tmp_path):
    heard = Heard()
    made = solver(
        f'max_iter: 4 display: 2 test_iter: 2 test_interval: 2 test_compute_loss: true snapshot_prefix: "{tmp_path}/s"',
        report=heard,
    )
    made.solve()
    tests = ["testing", "test_progress", "test_progress", "test_loss", *["test_output"] * 3, "tested"]
    shown = ["display", "train_output", "learning_rate"]
    assert heard.names() == [
        "solving",
        *tests, "iteration", *shown, "iteration",
        *tests, "iteration", *shown, "iteration",
        "snapshot", "snapshot",
        "display", *tests, "done",
    ]  # fmt: skip
    assert heard.said[0] == ("solving", "line", "fixed") and heard.said[-1] == ("done", False)


def test_what_is_told_is_what_is_computed():
    heard = Heard()
    solver("max_iter: 2 display: 1 test_iter: 2 test_interval: 2 snapshot_after_train: false", report=heard).solve()
    told = {name: [args for n, *args in heard.said if n == name] for name in heard.names()}
    w1, w2 = step_of(1), step_of(step_of(1))
    assert told["iteration"] == [
        [0, pytest.approx(loss_of(1)), pytest.approx(0.1)],
        [1, pytest.approx(loss_of(w1)), pytest.approx(0.1)],
    ]
    shown = [(iteration, loss, speed is None) for iteration, loss, speed, _, _ in told["display"]]
    assert shown == [
        (0, pytest.approx(loss_of(1)), False),
        (1, pytest.approx(loss_of(w1)), False),
        (2, pytest.approx(loss_of(w2)), True),
    ]
    assert told["learning_rate"] == [[0, pytest.approx(0.1)], [1, pytest.approx(0.1)]]
    assert [output for [output] in told["train_output"]] == [
        (0, "loss", pytest.approx(loss_of(1)), 1), (0, "loss", pytest.approx(loss_of(w1)), 1)
    ]  # fmt: skip
    values = [(number, *output) for _, number, output in told["test_output"]]
    assert values == [
        (0, 0, "loss", pytest.approx(loss_of(1)), 1),
        (0, 1, "twice", pytest.approx(2), 0),
        (0, 2, "twice", pytest.approx(4), 0),
        (0, 0, "loss", pytest.approx(loss_of(w2)), 1),
        (0, 1, "twice", pytest.approx(2 * w2), 0),
        (0, 2, "twice", pytest.approx(4 * w2), 0),
    ]


@pytest.mark.parametrize(
    "fields, tested_at",
    [
        ("test_interval: 2", [0, 2, 4]),
        ("test_interval: 2 test_initialization: false", [2, 4]),
        ("test_interval: 3", [0, 3]),
        ("test_interval: 100", [0]),
    ],
)
def test_when_tests_are_run(fields, tested_at):
    heard = Heard()
    solver(f"max_iter: 4 test_iter: 1 snapshot_after_train: false {fields}", report=heard).solve()
    assert [iteration for name, iteration, *_ in heard.said if name == "testing"] == tested_at


def test_callbacks_come_before_forward_and_before_the_update():
    made, seen = solver(), []
    made.add_callback(lambda: seen.append(("start", weight(made))), lambda: seen.append(("ready", weight(made))))
    made.add_callback(lambda: None, lambda: made.net.params["w"][0].diff.__setitem__(..., 0))
    made.step(2)
    assert seen == [("start", 1), ("ready", 1)] * 2, "the second callback took the gradient away"


# Stopping ----------------------------------------------------------------------------------------------------


def actions(*wanted: str):
    """Answers to the solver's question what to do, one an iteration; then "none"."""
    left = iter(wanted)
    return lambda: next(left, "none")


def test_stop_snapshots_and_ends(tmp_path):
    heard = Heard()
    made = solver(f'max_iter: 100 display: 1 snapshot_prefix: "{tmp_path}/s"', report=heard)
    made.action = actions("none", "stop")
    made.solve()
    assert made.iter == 2 and heard.said[-1] == ("done", True)
    assert heard.names()[-3:] == ["snapshot", "snapshot", "done"], "no last display, no last test"
    assert (tmp_path / "s_iter_2.solverstate").exists()


def test_snapshot_goes_on(tmp_path):
    made = solver(f'max_iter: 5 snapshot_prefix: "{tmp_path}/s" snapshot_after_train: false')
    made.action = actions("none", "snapshot")
    made.solve()
    assert made.iter == 5
    assert sorted(p.name for p in tmp_path.glob("*.solverstate")) == ["s_iter_2.solverstate"]


def test_a_test_can_be_stopped(tmp_path):
    heard = Heard()
    made = solver(f'max_iter: 9 test_iter: 50 test_interval: 1 snapshot_prefix: "{tmp_path}/s"', report=heard)
    made.action = actions("none", "snapshot", "none", "stop")
    made.solve()
    assert heard.names() == ["solving", "testing", "test_progress", *["snapshot"] * 2, *["test_progress"] * 2,
                             "test_interrupted", *["snapshot"] * 2, "done"]  # fmt: skip
    assert made.iter == 0


@pytest.mark.parametrize(
    "change, where",
    [
        (lambda n: n.params["w"][0].data.fill(np.nan), "parameter 0 of layer 'w' (InnerProduct)"),
        (lambda n: n.blobs["t"].data.fill(np.inf), "top 't' of layer 'in' (Input)"),
    ],
)
def test_a_loss_that_is_no_number_stops_the_run_and_says_where_it_began(tmp_path, change, where):
    made = solver(f'max_iter: 9 snapshot: 2 snapshot_prefix: "{tmp_path}/s"')
    made.step(2)
    change(made.net)
    with pytest.raises(TrainingError) as caught:
        made.solve()
    assert re.match(r"iteration 2: the loss is (nan|inf); the first value that is not finite is in ", str(caught.value))
    assert where in str(caught.value) and "lr is 0.1: try a smaller base_lr" in str(caught.value)
    assert isinstance(caught.value, CaffeError)
    assert [p.name for p in tmp_path.glob("*.solverstate")] == ["s_iter_2.solverstate"], "nothing is written over"


def test_a_rate_that_is_too_large_is_found():
    made = solver("max_iter: 1000")
    made.param.base_lr = 1e9
    with pytest.raises(TrainingError, match=r"iteration \d: the loss is inf; .* in top 'loss' .*lr is 1e\+09"):
        made.step(1000)


# What is refused ---------------------------------------------------------------------------------------------

REFUSED = {
    "no net": ("", "the solver must name its training net once, in one of net, .* got none of them"),
    "two nets": ('net: "net.prototxt" train_net: "net.prototxt"', "got net and train_net"),
    "a net twice": (f'net: "net.prototxt" net_param {{ {NET} }}', "got net and net_param"),
    "no such net": ('net: "nets.prototxt"', r":1:\d+: net: no such file: nets.prototxt"),
    "no such test net": (
        'train_net: "net.prototxt" test_net: "missing" test_iter: 1 test_interval: 1',
        "test_net: no such file: missing",
    ),
    "test_iter without a test net": ('train_net: "net.prototxt" test_iter: 1 test_interval: 1', "there is no test net"),
    "too few test_iter": ('net: "net.prototxt" test_net: "net.prototxt"', "1 test net.s., 0 test_iter"),
    "no test_interval": ('net: "net.prototxt" test_iter: 1', "test_interval: must be at least 1 where .* got 0"),
    "test_iter 0": ('net: "net.prototxt" test_iter: 0 test_interval: 1', "test_iter: must be at least 1, got 0"),
    "test_iter negative": ('net: "net.prototxt" test_iter: -5 test_interval: 1', "test_iter: must be .* 1, got -5"),
    "test states": (
        'net: "net.prototxt" test_iter: 1 test_interval: 1 test_state {} test_state {}',
        "test_state: give it 0 or 1 times",
    ),
    "type": ('net: "net.prototxt" type: "SDG"', r":1:\d+: type: unknown solver 'SDG'; did you mean 'SGD'"),
    "two types": ('net: "net.prototxt" type: "SGD" solver_type: ADAM', "exclude each other"),
    "iter_size": ('net: "net.prototxt" iter_size: 0', r":1:\d+: iter_size: must be at least 1, got 0"),
    "average_loss": ('net: "net.prototxt" average_loss: -1', "average_loss: must be at least 1, got -1"),
    "display": ('net: "net.prototxt" display: -1', "display: must not be negative, got -1"),
    "max_iter": ('net: "net.prototxt" max_iter: -2147483648', "max_iter: must not be .* got -2147483648"),
    "snapshot": ('net: "net.prototxt" snapshot: -1', "snapshot: must not be negative, got -1"),
    "weight_decay": ('net: "net.prototxt" weight_decay: -0.5', r"weight_decay: must not be negative, got -0\.5"),
    "momentum": ('net: "net.prototxt" momentum: 1', "momentum: must be at least 0 and below 1, got 1"),
    "momentum negative": ('net: "net.prototxt" momentum: -0.9', "momentum: must be at least 0 and below 1, got -0.9"),
    "momentum2": ('net: "net.prototxt" type: "Adam" momentum2: 1.5', "momentum2: must be .* below 1, got 1.5"),
    "rms_decay": ('net: "net.prototxt" type: "RMSProp" rms_decay: 7', "rms_decay: must be .* below 1, got 7"),
    "no momentum": ('net: "net.prototxt" type: "AdaGrad" momentum: 0.9', "momentum: AdaGrad has none, .* got 0.9"),
    "nan": ('net: "net.prototxt" weight_decay: nan', "weight_decay: must be a finite number, got nan"),
    "infinity": ('net: "net.prototxt" power: inf', "power: must be a finite number, got inf"),
    "penalty": ('net: "net.prototxt" regularization_type: "L0"', "regularization_type: must be L1 or L2, got 'L0'"),
    "unknown field": ('net: "net.prototxt" base_rl: 1', "unknown field 'base_rl'.*; did you mean 'base_lr'"),
    "a net as solver": (NET, r":2:1: unknown field 'name' in SolverParameter; it belongs in .* a NetParameter"),
}  # fmt: skip


@pytest.mark.parametrize("fields, problem", REFUSED.values(), ids=REFUSED)
def test_wrong_solvers_are_refused_with_their_file_and_field(folder, fields, problem):
    with pytest.raises(ConfigError, match=rf"solver\.prototxt.*{problem}") as caught:
        from_file(folder, fields)
    assert str(caught.value).count("solver.prototxt") == 1


def test_an_error_in_the_net_names_the_nets_file(folder):
    (folder / "net.prototxt").write_text(NET.replace("EuclideanLoss", "EuclidLoss"))
    with pytest.raises(ConfigError, match=r"net\.prototxt:6:22: layer 'loss': unknown type 'EuclidLoss'") as caught:
        from_file(folder, 'net: "net.prototxt"')
    assert "solver.prototxt" not in str(caught.value)
