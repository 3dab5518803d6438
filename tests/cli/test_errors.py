"""Bad input: one clear line that names file, place and value, exit status 1, and no file left half-written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from trainings import NET, SOLVER

from pycaffe_lite import device
from pycaffe_lite.cli import main

DATA = """
layer { name: "digits" type: "Data" top: "x" top: "label"
        data_param { source: "SOURCE" batch_size: 2 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
IMAGES = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 1, 5, 5] } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 1 kernel_size: 9 } }
"""
TRAIN = ["train", "--solver", "solver.prototxt"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, in which training works: what a test changes is what is wrong."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER + "max_iter: 2\n")
    Path("folder").mkdir()
    Path("empty").write_text("")
    Path("noise").write_bytes(np.random.default_rng(0).bytes(500))
    return tmp_path


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


def refused(arguments: list[str], capsys, status: int = 1) -> str:
    """The message with which a command ends: one line, the last one."""
    before = files()
    assert main(arguments) == status
    err = capsys.readouterr().err
    last = err.rstrip("\n").splitlines()[-1]
    assert last.startswith(f"caffe-lite {arguments[0]}: error: "), err
    assert "Traceback" not in err and err.count(": error: ") == 1
    assert files() == before, "nothing is left behind"
    return last.split(": error: ", 1)[1]


def net(old: str, new: str) -> None:
    assert old in NET
    Path("net.prototxt").write_text(NET.replace(old, new, 1))


def solver(text: str) -> None:
    Path("solver.prototxt").write_text(text)


# name -> what to change, the command, and what the message must say
CASES = {
    "no such solver": (None, ["train", "--solver", "sovler.prototxt"], r"^sovler.prototxt: No such file"),
    "solver is a folder": (None, ["train", "--solver", "folder"], r"^folder: Is a directory"),
    "solver is empty": (None, ["train", "--solver", "empty"], r"^empty: the file is empty"),
    "solver is noise": (None, ["train", "--solver", "noise"], r"^noise: "),
    "solver is a net": (
        None,
        ["train", "--solver", "net.prototxt"],
        r"^net.prototxt:2:1: unknown field 'name' in SolverParameter",
    ),
    "no net": (
        lambda: solver('base_lr: 1 lr_policy: "fixed"'),
        TRAIN,
        r"^solver.prototxt: the solver must name its training net",
    ),
    "two nets": (
        lambda: solver(SOLVER + 'train_net: "net.prototxt"'),
        TRAIN,
        r"^solver.prototxt: .* got net and train_net",
    ),
    "test_iter without a test net": (
        lambda: solver(SOLVER.replace("net:", "train_net:") + "test_iter: 1 test_interval: 1"),
        TRAIN,
        r"^solver.prototxt:2:1: test_iter: .* there is no test net",
    ),
    "no such net": (lambda: os.remove("net.prototxt"), TRAIN, r"^solver.prototxt:1:1: net: no such file: net.prototxt"),
    "net is a folder": (lambda: solver(SOLVER.replace("net.prototxt", "folder")), TRAIN, r"^\S*folder: Is a directory"),
    "policy": (
        lambda: solver(SOLVER.replace("fixed", "fxied")),
        TRAIN,
        r"^solver.prototxt:1:35: lr_policy: unknown policy 'fxied'; did you mean 'fixed'",
    ),
    "momentum": (lambda: solver(SOLVER.replace("0.9", "9")), TRAIN, r"^solver.prototxt:1:\d+: momentum: .* got 9"),
    "rate": (lambda: solver(SOLVER.replace("0.01", "-0.01")), TRAIN, r"^solver.prototxt:1:21: base_lr: .* got -0.01"),
    "prefix": (
        lambda: solver(SOLVER.replace('"s"', '"empty/s"') + "max_iter: 1"),
        TRAIN,
        r"^solver.prototxt:1:\d+: snapshot_prefix: 'empty/s' .* not a folder",
    ),
    "unknown field": (
        lambda: net("num_output", "num_ouput"),
        TRAIN,
        r"net.prototxt:6:31: unknown field 'num_ouput' .*did you mean 'num_output'",
    ),
    "unknown enum": (
        lambda: net('stage: "more"', "phase: TRIAN"),
        TRAIN,
        r"net.prototxt:8:\d+: unknown value TRIAN for 'phase'",
    ),
    "unknown type": (
        lambda: net("InnerProduct", "InerProduct"),
        TRAIN,
        r"net.prototxt:5:20: layer 'ip': unknown type 'InerProduct'; did you mean 'InnerProduct'",
    ),
    "unknown bottom": (
        lambda: net('bottom: "y" bottom', 'bottom: "yy" bottom'),
        TRAIN,
        r"net.prototxt:7:44: layer 'loss' \(EuclideanLoss\): unknown bottom blob 'yy'",
    ),
    "syntax": (
        lambda: net('layer { name: "ip"', 'layer name: "ip"'),
        TRAIN,
        r"net.prototxt:5:7: expected '\{' after 'layer', found 'name'",
    ),
    "shapes": (
        lambda: net("dim: 4 dim: 3", "dim: 4 dim: 2"),
        TRAIN,
        r"net.prototxt:7:1: layer 'loss' \(EuclideanLoss\): .*'y' \(4, 3\) by layer 'ip', 't' \(4, 2\) by layer 'in'",
    ),
    "kernel": (
        lambda: Path("net.prototxt").write_text(IMAGES),
        TRAIN,
        r"net.prototxt:3:\d\d: layer 'c' \(Convolution\): convolution_param.kernel_size: kernel of 9 is larger "
        r".*'x' \(2, 1, 5, 5\) by layer 'in'",
    ),
    "no GPU": (None, [*TRAIN, "--gpu", "99"], r"^GPU 99 asked for"),
    "GPU in the solver": (
        lambda: solver(SOLVER + "solver_mode: GPU device_id: 99"),
        TRAIN,
        r"^solver.prototxt:2:1: solver_mode: GPU 99 asked for, but ",
    ),
    "several GPUs": (None, [*TRAIN, "--gpu", "0,1"], r"^--gpu: must be the number of one GPU, got '0,1'"),
    "GPU by name": (None, [*TRAIN, "--gpu", "titan"], r"^--gpu: .* got 'titan'"),
    "no threads": (
        None,
        [*TRAIN, "--threads", "0"],
        r"^--threads: must be a number of threads from 1 to 1024, got '0'",
    ),
    "threads that are no digits": (None, [*TRAIN, "--threads", "²"], r"^--threads: .* got '²'"),
    "threads": (None, [*TRAIN, "--threads", "many"], r"^--threads: .* got 'many'"),
    "iterations": (None, [*TRAIN, "--iterations=-1"], r"^--iterations: must not be negative, got -1"),
    "log-dir": (None, [*TRAIN, "--log-dir", "empty/logs"], r"^--log-dir empty/logs: cannot be written: "),
    "no such weights": (None, [*TRAIN, "--weights", "w.caffemodel"], r"^\S*w.caffemodel: No such file"),
    "weights are a folder": (None, [*TRAIN, "--weights", "folder"], r"^\S*folder: this is a folder, not a caffemodel"),
    "weights are noise": (None, [*TRAIN, "--weights", "noise"], r"noise: not a caffemodel"),
    "weights are text": (
        None,
        [*TRAIN, "--weights", "net.prototxt"],
        r"net.prototxt: this is text \(a prototxt\?\), not a caffemodel",
    ),
    "weights of the solver": (lambda: solver(SOLVER + 'weights: "w.caffemodel"'), TRAIN, r"w.caffemodel: No such file"),
    "no such snapshot": (None, [*TRAIN, "--snapshot", "s_iter_9.solverstate"], r"^s_iter_9.solverstate: No such file"),
    "snapshot is a folder": (None, [*TRAIN, "--snapshot", "folder"], r"^folder: this is a folder, not a solverstate"),
    "snapshot is empty": (None, [*TRAIN, "--snapshot", "empty"], r"^empty: the file is empty"),
    "snapshot is noise": (None, [*TRAIN, "--snapshot", "noise"], r"^noise: not a solverstate"),
    "no such database": (None, [*TRAIN], r"net.prototxt:2:1: layer 'digits' \(Data\): \S*gone: no such LMDB database"),
    "database is a file": (
        None,
        [*TRAIN],
        r"layer 'digits' \(Data\): \S*empty: is a file, but a Caffe database is a directory",
    ),
    "database is empty": (None, [*TRAIN], r"layer 'digits' \(Data\): \S*folder: no LMDB database"),
    "no such model": (None, ["test", "--model", "nte.prototxt", "--weights", "w"], r"^nte.prototxt: No such file"),
    "model without weights": (None, ["test", "--model", "net.prototxt", "--weights", "w"], r"^\S*w: No such file"),
    "no batches": (
        None,
        ["test", "--model", "net.prototxt", "--weights", "w", "--iterations", "0"],
        r"^--iterations: must be at least 1, got 0",
    ),
    "no such net to time": (None, ["time", "--model", "nte.prototxt"], r"^nte.prototxt: No such file"),
    "nothing to time": (
        None,
        ["time", "--model", "net.prototxt", "--iterations", "0"],
        r"^--iterations: must be at least 1, got 0",
    ),
}
SOURCES = {"no such database": "gone", "database is a file": "empty", "database is empty": "folder"}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_one_clear_line(folder, capsys, name):
    change, arguments, message = CASES[name]
    if name in SOURCES:
        Path("net.prototxt").write_text(DATA.replace("SOURCE", SOURCES[name]))
    if change:
        change()
    assert re.search(message, refused(arguments, capsys))


def test_after_a_refused_gpu_the_cpu_is_still_there(folder, capsys):
    refused([*TRAIN, "--gpu", "99"], capsys)
    assert device.current() is device.CPU
    assert main(TRAIN) == 0


def test_weights_and_snapshots_of_another_net(folder, capsys):
    assert main(TRAIN) == 0
    capsys.readouterr()
    Path("net.prototxt").write_text(NET.replace("dim: 3", "dim: 5").replace("num_output: 3", "num_output: 5"))
    message = refused([*TRAIN, "--weights", "s_iter_2.caffemodel"], capsys)
    assert re.search(r"s_iter_2.caffemodel: layer 'ip' .*\(3, 6\).*\(5, 6\)", message)
    message = refused([*TRAIN, "--snapshot", "s_iter_2.solverstate"], capsys)
    assert re.search(r"^s_iter_2.solverstate: history 0 has shape \(3, 6\), the net's parameter \(5, 6\)", message)
    message = refused([*TRAIN, "--snapshot", "s_iter_2.caffemodel"], capsys)
    assert re.search(r"^s_iter_2.caffemodel: .*model.*--weights|solverstate", message)


def test_labels_outside_the_classes(digits, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(DATA.replace("SOURCE", str(digits / "mnist_train_lmdb")))
    Path("solver.prototxt").write_text(SOLVER + "max_iter: 50")
    message = refused(TRAIN, capsys)
    assert re.search(
        r"net.prototxt:5:1: layer 'loss' \(SoftmaxWithLoss\): label \d \(number \d in the batch\)", message
    )
    assert "is outside the 3 classes" in message


def test_a_loss_that_is_no_number(folder, capsys):
    solver(SOLVER.replace("0.01", "1e30") + "max_iter: 9")
    message = refused(TRAIN, capsys)
    assert re.search(
        r"^iteration \d: the loss is (inf|nan); .* layer '\w+' .*lr is 1e\+30: try a smaller base_lr", message
    )


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("solver.prototxt", []),
        ("net.prototxt", []),
        ("empty", ["--weights", "empty"]),
        ("empty", ["--snapshot", "empty"]),
    ],
)
def test_files_without_permission(folder, capsys, name, arguments):
    Path(name).chmod(0)
    if os.access(name, os.R_OK):
        pytest.skip("this user may read everything")
    assert f"{name}: Permission denied" in refused([*TRAIN, *arguments], capsys)


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["train"], [*TRAIN, "--sigint-effect", "explode"], [*TRAIN, "--iterations", "x"]]
)
def test_wrong_usage_is_status_2(folder, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: caffe-lite" in capsys.readouterr().err
