"""A run that is stopped anywhere and resumed gives the same bits as one that is not."""

from __future__ import annotations

import json
import logging

import lmdb
import numpy as np
import pytest

from pycaffe_lite.errors import WeightsError
from pycaffe_lite.proto import Datum, SolverParameter, text
from pycaffe_lite.solver.report import Report
from pycaffe_lite.solver.solver import STOP, Solver

NET = """
layer { name: "images" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mirror: true crop_size: 9 scale: 0.004 }
        data_param { source: "digits" batch_size: 5 backend: LMDB shuffle: true rand_skip: 9 } }
layer { name: "images" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { mirror: true crop_size: 9 scale: 0.004 }
        data_param { source: "digits" batch_size: 5 backend: LMDB shuffle: true } }
layer { name: "noise" type: "DummyData" top: "noise"
        dummy_data_param { shape { dim: 5 dim: 3 } data_filler { type: "gaussian" std: 0.1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "noise" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
"""
POLICY = 'lr_policy: "inv" gamma: 0.01 power: 0.5'
LENGTH, ENTRIES = 17, 37  # iterations, of 5 entries each: an epoch ends in the midst of the eighth


class Notes(Report):
    """The losses displayed and the results of tests, by iteration."""

    def __init__(self):
        self.losses: dict[int, float] = {}
        self.tests: dict[int, float] = {}

    def display(self, iteration, loss, speed, seconds, interval):
        self.losses[iteration] = loss

    def test_output(self, iteration, net, output):
        self.tests[iteration] = output.value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small database of noise."""
    path = tmp_path_factory.mktemp("resume")
    rng = np.random.default_rng(0)
    with lmdb.open(str(path / "digits"), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        for i in range(ENTRIES):
            pixels = rng.integers(0, 256, 144, dtype=np.uint8).tobytes()
            datum = Datum(channels=1, height=12, width=12, data=pixels, label=i % 3)
            transaction.put(b"%08d" % i, datum.SerializeToString())
    return path


@pytest.fixture(autouse=True)
def here(folder, tmp_path, monkeypatch):
    """Each test in a folder of its own, with the database."""
    (tmp_path / "digits").symlink_to(folder / "digits")
    monkeypatch.chdir(tmp_path)


def make(seed: int = 3, fields: str = "") -> tuple[Solver, Notes]:
    param = text.parse(
        f"""net_param {{ {NET} }} base_lr: 0.1 {POLICY if "lr_policy" not in fields else ""} weight_decay: 0.001
            test_iter: 2 test_interval: 4 display: 1 average_loss: 5 max_iter: {LENGTH} random_seed: {seed}
            snapshot_prefix: "run" {fields}""",
        SolverParameter(),
    )
    notes = Notes()
    return Solver(param, reports=[notes]), notes


def stop_after(solver: Solver, iterations: int) -> str:
    """Stop it as Ctrl-C does; returns the snapshot it leaves."""
    solver.action = lambda: STOP if solver.iter >= iterations else "none"
    solver.solve()
    assert solver.iter == iterations
    suffix = ".h5" if solver.param.snapshot_format == SolverParameter.HDF5 else ""
    return f"run_iter_{iterations}.solverstate{suffix}"


def assert_same(one: Solver, other: Solver) -> None:
    """All parameters, histories and the averaged weights, bit for bit."""
    for mine, theirs in zip(one.net.graph.learnable, other.net.graph.learnable, strict=True):
        np.testing.assert_array_equal(mine.blob.data, theirs.blob.data, err_msg=mine.layer.name)
    for mine, theirs in zip(one.update.histories(), other.update.histories(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if one.update.average is not None:
        np.testing.assert_array_equal(one.update.average, other.update.average)


SOLVERS = {
    "SGD": "momentum: 0.9",
    "HDF5": "momentum: 0.9 snapshot_format: HDF5",
    "Adam": 'type: "Adam" momentum: 0.9 iter_size: 2',
    "averaged": "momentum: 0.9 ema_decay: 0.8",
    "plateau": 'momentum: 0.9 lr_policy: "plateau" gamma: 0.5 plateau_winsize: 3 metric: "loss"',
}


@pytest.mark.parametrize("stop", [1, 3, 7, 8, 12])
@pytest.mark.parametrize("kind", SOLVERS)
def test_stopped_and_resumed_is_not_stopped(kind, stop):
    straight, expected = make(fields=SOLVERS[kind])
    straight.solve()
    stopped, before = make(fields=SOLVERS[kind])
    state = stop_after(stopped, stop)
    resumed, after = make(seed=99, fields=SOLVERS[kind])  # whatever it was made with, the snapshot counts
    resumed.solve(state)
    assert_same(straight, resumed)
    assert before.losses | after.losses == expected.losses
    assert before.tests | after.tests == expected.tests


def test_resumed_twice_and_in_the_same_process_as_well():
    straight, _ = make()
    straight.step(LENGTH)
    solver, _ = make()
    for length in (4, 5, 8):
        solver.step(length)
        state = solver.snapshot()
        solver.step(2)  # on, and back again
        solver.restore(state)
    assert_same(straight, solver)


def test_stopped_in_the_midst_of_a_test_it_begins_with_that_test_again():
    fields = "momentum: 0.9 ema_decay: 0.8"
    straight, expected = make(fields=fields)
    straight.solve()
    stopped, _ = make(fields=fields)
    asked = []
    stopped.action = lambda: STOP if stopped.iter == 8 and (asked.append(1) or len(asked) > 2) else "none"
    stopped.solve()  # asked after iteration 7, before the first and before the second test batch
    assert stopped.iter == 8 and len(asked) == 3
    resumed, after = make(seed=99, fields=fields)
    resumed.solve("run_iter_8.solverstate")
    assert_same(straight, resumed)
    assert after.tests == {i: value for i, value in expected.tests.items() if i >= 8}


def test_a_snapshot_in_the_midst_of_a_test_is_of_the_trained_weights():
    fields = "momentum: 0.9 ema_decay: 0.8"
    solver, _ = make(fields=fields)
    solver.step(8)
    solver.action = lambda: "snapshot"
    solver.test_all()
    other, _ = make(seed=99, fields=fields)
    other.restore("run_iter_8.solverstate")
    assert_same(solver, other)


def test_streams_taken_later_go_on_too():
    from pycaffe_lite import random

    solver, _ = make()
    state = solver.snapshot()
    expected = random.new_key()
    random.set_random_seed(5)
    other, _ = make(seed=99)
    other.restore(state)
    assert random.new_key() == expected


# Where there is no such file


def messages(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if ".resume.json" in r.getMessage()]


def test_without_the_file_beside_it_training_goes_on_as_in_caffe(tmp_path, caplog):
    solver, _ = make()
    solver.step(3)
    state = solver.snapshot()
    (tmp_path / "run_iter_3.resume.json").unlink()
    other, _ = make()
    caplog.set_level(logging.INFO, "pycaffe_lite")
    other.restore(state)
    assert_same(solver, other)
    assert other.iter == 3
    assert messages(caplog) == [
        "run_iter_3.resume.json is not there: data, random numbers and loss average start anew, as in Caffe"
    ]
    fresh, _ = make()
    assert other.net.layer_dict["images"].state_dict() == fresh.net.layer_dict["images"].state_dict()


def test_the_file_of_another_run_is_not_used(tmp_path, caplog):
    solver, _ = make()
    solver.step(3)
    state = solver.snapshot()
    foreign = (tmp_path / "run_iter_3.resume.json").read_text()
    other, _ = make(seed=4)
    other.step(3)
    other.snapshot()
    (tmp_path / "run_iter_3.resume.json").write_text(foreign)
    caplog.clear()
    other.restore(state)
    (warning,) = messages(caplog)
    assert "run_iter_3.resume.json belongs to another run_iter_3.solverstate" in warning


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: "",
        lambda kept: "[" * 100_000,
        lambda kept: "[1, 2]",
        lambda kept: json.dumps({**kept, "random": 3}),
        lambda kept: json.dumps({**kept, "test": [3]}),
        lambda kept: json.dumps({key: kept[key] for key in ("version", "solverstate_crc32")}),
        lambda kept: json.dumps({**kept, "judge": {"dtype": "no such type", "values": [1]}}),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    solver, _ = make()
    state = solver.snapshot()
    path = tmp_path / "run_iter_0.resume.json"
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(WeightsError, match=r"run_iter_0\.resume\.json: damaged .*without it training goes on"):
        solver.restore(state)


def test_another_version_is_named(tmp_path):
    solver, _ = make()
    state = solver.snapshot()
    path = tmp_path / "run_iter_0.resume.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(WeightsError, match=r"of version 2, but this caffe-lite reads version 1"):
        solver.restore(state)


def test_a_layer_that_has_changed_starts_anew_and_says_so(caplog):
    solver, _ = make()
    state = solver.snapshot()
    changed = text.parse(
        NET.replace('name: "noise" type: "DummyData"', 'name: "drop" type: "DummyData"').replace(
            'name: "drop" type: "Dropout"', 'name: "noise" type: "Dropout"'
        ),
        type(solver.param.net_param)(),
    )
    solver.param.net_param.CopyFrom(changed)
    other = Solver(solver.param)
    caplog.clear()
    other.restore(state)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any(w.startswith("layer 'drop' (DummyData) cannot go on where it was, and starts anew") for w in warned)
    assert any(w.startswith("layer 'noise' (Dropout) cannot go on where it was, and starts anew") for w in warned)
