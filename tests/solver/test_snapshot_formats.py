"""Snapshots in both formats: what Caffe would write, what is found again, what is refused, which one is the newest."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pycaffe_lite import get_solver
from pycaffe_lite.errors import WeightsError
from pycaffe_lite.formats import solverstate
from pycaffe_lite.proto import NetParameter, SolverParameter, text
from pycaffe_lite.solver import policy, snapshot
from pycaffe_lite.solver.solver import Solver

NET = """
layer { name: "in" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
FORMATS = {"BINARYPROTO": "", "HDF5": ".h5"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(fields: str = "", net: str = NET, prefix: str = "run") -> Solver:
    made = f'net_param {{ {net} }} base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "{prefix}" {fields}'
    return Solver(text.parse(made, SolverParameter()))


def parameters(solver: Solver) -> list[np.ndarray]:
    return [e.blob.data.copy() for e in solver.net.graph.learnable] + [h.copy() for h in solver.update.histories()]


def assert_same(solver: Solver, expected: list[np.ndarray]) -> None:
    for got, wanted in zip(parameters(solver), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


# As Caffe writes them


def caffes_states(shared) -> list:
    return sorted((shared / "golden" / "solvers").glob("*_iter_10.solverstate"))


def test_states_are_caffes_byte_for_byte(shared, monkeypatch, tmp_path):
    monkeypatch.chdir(shared / "golden" / "solvers")
    states = caffes_states(shared)
    assert len(states) == 4
    for path in states:
        solver = get_solver(path.name.replace("_iter_10.solverstate", ".solver.prototxt"))
        solver.restore(path.name)
        step = policy.steps_reached(solver.param, solver.iter)
        model = path.name.replace(".solverstate", ".caffemodel")
        made = solverstate.State(solver.iter, model, step, solver.update.histories())
        solverstate.write(made, str(tmp_path / "ours"))
        assert (tmp_path / "ours").read_bytes() == path.read_bytes(), path.name


def test_steps_of_the_rate_are_those_of_the_last_iteration():
    solver = make()
    solver.param.MergeFrom(text.parse('lr_policy: "step" gamma: 0.5 stepsize: 2', SolverParameter()))
    for steps in (0, 0, 0, 1, 1):
        with solverstate.opened(solver.snapshot()) as state:
            assert state.current_step == steps
        solver.step(1)


def test_hdf5_states_are_laid_out_as_caffe_does(shared, monkeypatch, tmp_path):
    monkeypatch.chdir(shared / "golden" / "solvers")
    for path in caffes_states(shared):
        theirs = f"{path.name}.h5"
        with solverstate.opened(theirs) as state:
            history = [stored.read() for stored in state.history]
            again = solverstate.State(state.iter, state.learned_net, state.current_step, history)
        solverstate.write(again, str(tmp_path / theirs), ".h5")
        with h5py.File(theirs) as a, h5py.File(tmp_path / theirs) as b:
            assert described(a) == described(b)
            a.visititems(lambda name, item: isinstance(item, h5py.Group) or same(item[()], b[name][()], name))


def same(one, other, name: str) -> None:
    np.testing.assert_array_equal(one, other, err_msg=name)


def described(file) -> dict:
    """Names, shapes, types (a string has room for C's zero at its end)."""
    found = {}
    file.visititems(
        lambda name, item: found.update({name: (getattr(item, "shape", 0), str(getattr(item, "dtype", 0)))})
    )
    return found


# There and back


@pytest.mark.parametrize("form", FORMATS)
def test_a_snapshot_is_three_files_that_bring_everything_back(form, tmp_path):
    solver = make(f'snapshot_format: {form} type: "Adam" momentum2: 0.99')
    solver.step(3)
    state = solver.snapshot()
    end = FORMATS[form]
    assert sorted(os.listdir()) == [
        f"run_iter_3.caffemodel{end}",
        "run_iter_3.resume.json",
        f"run_iter_3.solverstate{end}",
    ]
    assert state == f"run_iter_3.solverstate{end}"
    expected = parameters(solver)
    other = make('type: "Adam" momentum2: 0.99')  # reading does not depend on snapshot_format
    other.restore(state)
    assert other.iter == 3
    assert_same(other, expected)


@pytest.mark.parametrize("form", FORMATS)
def test_snapshot_diff(form):
    solver = make(f"snapshot_format: {form} snapshot_diff: true")
    solver.step(2)
    solver.snapshot()
    gradient = solver.net.params["ip"][0].diff
    assert np.abs(gradient).max() > 0
    if form == "HDF5":
        with h5py.File("run_iter_2.caffemodel.h5") as file:
            np.testing.assert_array_equal(file["diff/ip/0"], gradient)
        return
    with open("run_iter_2.caffemodel", "rb") as file:
        layer = next(layer for layer in NetParameter.FromString(file.read()).layer if layer.name == "ip")
    np.testing.assert_array_equal(np.reshape(layer.blobs[0].diff, gradient.shape), gradient)


@pytest.mark.parametrize("form", FORMATS)
def test_files_that_have_been_moved_find_each_other(form, tmp_path):
    solver = make(f"snapshot_format: {form}", prefix="deep/down/run")
    state = solver.snapshot()
    expected = parameters(solver)
    shutil.move("deep/down", "elsewhere")
    other = make()
    other.restore(f"elsewhere/{os.path.basename(state)}")
    assert_same(other, expected)
    os.remove(f"elsewhere/run_iter_0.caffemodel{FORMATS[form]}")
    with pytest.raises(WeightsError, match=r"its model deep/down/run_iter_0\.\S+ is neither there nor beside it"):
        make().restore(f"elsewhere/{os.path.basename(state)}")


def test_a_model_named_by_a_path_of_windows():
    solver = make()
    solver.net.save("run_iter_7.caffemodel")
    made = solverstate.State(7, r"C:\nets\run_iter_7.caffemodel", 0, solver.update.histories())
    solverstate.write(made, "run_iter_7.solverstate")
    other = make()
    other.restore("run_iter_7.solverstate")
    assert other.iter == 7
    assert_same(other, parameters(solver))


# What is refused


@pytest.mark.parametrize("form", FORMATS)
def test_states_of_other_nets_and_solvers_are_refused_and_change_nothing(form):
    state = make(f"snapshot_format: {form}").snapshot()
    adam = make('type: "Adam"')
    before = parameters(adam)
    with pytest.raises(WeightsError, match=r"holds 2 history blobs, but a Adam solver of net '' has 4; was it written"):
        adam.restore(state)
    wide = make(net=NET.replace("dim: 6", "dim: 7"))
    with pytest.raises(WeightsError, match=r"history 0 has shape \(2, 6\), the net's parameter \(2, 7\)"):
        wide.restore(state)
    assert_same(adam, before)
    assert adam.iter == wide.iter == 0


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_is_no_state(form):
    solver = make(f"snapshot_format: {form}")
    solver.snapshot()
    with pytest.raises(WeightsError, match=r"not a solverstate: it .*; it is named as a model: --weights takes those"):
        solver.restore(f"run_iter_0.caffemodel{FORMATS[form]}")


def test_a_history_of_5_gigabytes_is_refused_before_it_is_read():
    with h5py.File("a.solverstate.h5", "w") as file:
        file["iter"] = [3]
        for i in range(2):
            file.create_dataset(f"history/{i}", (70000, 70000), "f4", chunks=(100, 100))
    with pytest.raises(WeightsError, match=r"history 0: shape \(70000, 70000\) takes 19,600,000,000 bytes"):
        make().restore("a.solverstate.h5")


# A full disk


def contents() -> dict[str, bytes]:
    """All files here."""
    return {path.name: path.read_bytes() for path in Path().iterdir()}


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_leaves_all_files_of_the_old_snapshot(form):
    """In a process that may write no more than 100 bytes a file: to a program a full disk looks the same."""
    state = make(f"snapshot_format: {form}").snapshot()
    before = contents()
    script = f"""
import resource, sys
from pycaffe_lite.errors import CaffeError
from test_snapshot_formats import make
solver = make("snapshot_format: {form}")
solver.restore({state!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    solver.snapshot()
except CaffeError as error:
    sys.exit(str(error))
"""
    paths = os.pathsep.join(filter(None, [os.path.dirname(__file__), *sys.path]))
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "the file that was there is untouched" in done.stderr, done.stderr
    assert contents() == before


# The newest


def written(iterations: list[int], form: str = "BINARYPROTO") -> None:
    """Snapshots of these iterations, one a second."""
    solver = make(f"snapshot_format: {form}")
    for second, solver.iter in enumerate(iterations):
        path = solver.snapshot()
        os.utime(path, (second, second))


def test_the_newest_snapshot_is_the_one_written_last():
    assert snapshot.newest("run") is None
    written([4, 12, 8])
    assert snapshot.newest("run") == "run_iter_8.solverstate"  # iteration 12 is of a run that was begun anew
    assert snapshot.newest("ru") is None


def test_incomplete_snapshots_are_passed_over(caplog):
    written([1, 2, 3, 4])
    os.truncate("run_iter_4.solverstate", 60)
    os.remove("run_iter_3.caffemodel")
    os.truncate("run_iter_2.caffemodel", 200)
    for second, name in enumerate(["run_iter_2.solverstate", "run_iter_3.solverstate", "run_iter_4.solverstate"], 1):
        os.utime(name, (second, second))
    assert snapshot.newest("run") == "run_iter_1.solverstate"
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [w.split(": ")[0] for w in warned] == ["passing over a snapshot"] * 3


# On the command line


def write_solver(fields: str = "max_iter: 4") -> None:
    with open("net.prototxt", "w") as file:
        file.write(NET)
    with open("solver.prototxt", "w") as file:
        file.write(f'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "run" {fields}')


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pycaffe_lite", *arguments],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_snapshot_auto_goes_on_from_the_newest():
    write_solver()
    code, log = run("train", "--solver=solver.prototxt", "--snapshot=auto", "--cpu")
    assert (
        code == 0 and "--snapshot auto: there is no snapshot run_iter_* yet, so training starts at iteration 0" in log
    )
    code, log = run("train", "--solver=solver.prototxt", "--snapshot=auto", "--cpu", "--iterations=6")
    assert code == 0 and "Restoring previous solver status from run_iter_4.solverstate" in log
    assert os.path.exists("run_iter_6.solverstate")


def test_ignore_mismatch():
    write_solver()
    make(net=NET.replace("num_output: 2", "num_output: 3").replace("dim: 4 dim: 2", "dim: 4 dim: 3")).net.save(
        "a.caffemodel"
    )
    command = ("train", "--solver=solver.prototxt", "--weights=a.caffemodel", "--cpu")
    code, log = run(*command)
    assert code == 1 and "layer 'ip' (InnerProduct), parameter 0: shape (3, 6) in the file, (2, 6) in the net" in log
    code, log = run(*command, "--ignore-mismatch")
    assert code == 0 and "of another shape in the file, left as they were: ip (3, 6) (3,)" in log
    command = ("test", "--model=net.prototxt", "--weights=a.caffemodel", "--iterations=1", "--cpu")
    assert [run(*command)[0], run(*command, "--ignore-mismatch")[0]] == [1, 0]
