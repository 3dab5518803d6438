"""The net under models/mlp: its size, that it learns, and (slow) how well."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import cli
from pycaffe_lite.data import mnist, synthetic_digits
from pycaffe_lite.proto import upgrade
from pycaffe_lite.solver.solver import Solver

MODEL = Path(__file__).resolve().parents[2] / "models" / "mlp"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """mlp/ with its prototxt files, and lenet/, where it looks for its data, still empty."""
    shutil.copytree(MODEL, tmp_path / "mlp", ignore=shutil.ignore_patterns("*.caffemodel", "*.solverstate"))
    (tmp_path / "lenet").mkdir()
    return tmp_path


def solver(folders: Path, seed: int = 1) -> Solver:
    param = upgrade.read_solver(folders / "mlp" / "mlp_solver.prototxt")
    param.net = str(folders / "mlp" / param.net)
    param.snapshot_after_train, param.random_seed = False, seed
    return Solver(param)


def test_the_perceptron_has_the_size_it_says_and_learns(folders):
    images, labels = synthetic_digits.render(500, seed=1)
    for name in ("mnist_train_lmdb", "mnist_test_lmdb"):
        mnist.write_database(folders / "lenet" / name, mnist.Digits(images, labels))
    made = solver(folders)
    assert sum(b.count for blobs in made.net.params.values() for b in blobs) == 407050
    assert made.step(40) < np.log(10) / 2


@pytest.mark.slow
def test_five_epochs_of_rmsprop_reach_the_course(folders, shared):
    source = str(shared / "data" / "mnist")
    assert cli.main(["data", "mnist", "--from", source, "--out", str(folders / "lenet")]) == 0
    made = solver(folders)
    made.step(made.param.max_iter)
    net = made.test_nets[0]
    right = [(net.run_forward(), float(net.blobs["accuracy"].data))[1] for _ in range(100)]
    assert np.mean(right) >= 0.978
