"""The nets under models/lenet: their sizes, training them, and using what was trained."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import cli
from pycaffe_lite.data import mnist, synthetic_digits
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import SolverParameter, caffe_pb2, upgrade
from pycaffe_lite.solver.solver import Solver

ROOT = Path(__file__).resolve().parents[2]
MODELS, README = ROOT / "models" / "lenet", ROOT / "README.md"


def copy_models(folder: Path) -> Path:
    """A folder with all prototxt files of models/lenet, and no data yet."""
    for path in MODELS.glob("*.prototxt"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/lenet with databases of 400 + 100 synthetic digits."""
    folder = copy_models(tmp_path_factory.mktemp("small"))
    images, labels = synthetic_digits.render(500, seed=1)
    mnist.write_database(folder / "mnist_train_lmdb", mnist.Digits(images[:400], labels[:400]))
    mnist.write_database(folder / "mnist_test_lmdb", mnist.Digits(images[400:], labels[400:]))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """models/lenet with all of MNIST."""
    folder = copy_models(tmp_path_factory.mktemp("real"))
    assert cli.main(["data", "mnist", "--from", str(shared / "data" / "mnist"), "--out", str(folder)]) == 0
    return folder


def solver_of(folder: Path, name: str = "lenet_solver.prototxt", **changes: object) -> Solver:
    """A solver of this folder, with fields changed; it leaves no snapshots."""
    param = upgrade.read_solver(folder / name)
    param.MergeFrom(SolverParameter(net=str(folder / param.net), snapshot_after_train=False, **changes))
    param.ClearField("snapshot")
    return Solver(param)


def accuracy(solver: Solver) -> float:
    """The share of the test database that the net gets right now."""
    net, batches = solver.test_nets[0], solver.param.test_iter[0]
    right = 0.0
    for _ in range(batches):
        net.run_forward()
        right += float(net.blobs["accuracy"].data)
    return right / batches


def parameters(net: Net) -> dict[str, int]:
    return {name: sum(blob.count for blob in blobs) for name, blobs in net.params.items()}


def test_lenet_has_as_many_parameters_as_caffes(small):
    net = Net(small / "lenet_train_test.prototxt", caffe_pb2.TRAIN)
    assert parameters(net) == {"conv1": 520, "conv2": 25050, "ip1": 400500, "ip2": 5010}
    assert sum(parameters(net).values()) == 431080


def test_lenet5_has_the_parameters_that_the_course_counts(small):
    net = Net(small / "lenet5_train_test.prototxt", caffe_pb2.TRAIN)
    assert parameters(net) == {
        "c1": 156, "s2": 12, "c3": 2416, "s4": 32, "c5": 48120, "f6": 10164, "output": 850,
    }  # fmt: skip


@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
def test_lenet5_halves_its_maps_as_the_course_draws_them(small, phase):
    net = Net(small / "lenet5_train_test.prototxt", phase)
    maps = [net.blobs[name].shape[1:] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")]
    assert maps == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84,), (10,)]


@pytest.mark.parametrize("name", ["lenet_solver.prototxt", "lenet5_solver.prototxt"])
def test_the_loss_falls(small, name):
    solver = solver_of(small, name, random_seed=1, average_loss=20)
    first = solver.step(1)
    assert first == pytest.approx(np.log(10), abs=0.4)  # knows nothing: all ten digits alike
    assert solver.step(150) < first / 2


def test_the_deploy_net_gives_the_scores_of_the_trained_net(small, tmp_path):
    solver = solver_of(small, random_seed=1)
    solver.step(5)
    weights = tmp_path / "lenet.caffemodel"
    solver.net.save(weights)
    trained = solver.test_nets[0]
    trained.run_forward()
    images, scores = trained.blobs["data"].data, trained.blobs["ip2"].data

    deployed = Net(small / "lenet.prototxt", caffe_pb2.TEST, weights=weights)
    deployed.blobs["data"].reshape(*images.shape)
    prob = deployed.forward(["ip2"], data=images)
    assert np.array_equal(prob["ip2"], scores)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert prob["prob"] == pytest.approx(odds / odds.sum(axis=1, keepdims=True), abs=1e-6)


def test_the_python_of_the_readme_runs(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lenet").symlink_to(small)
    monkeypatch.chdir(tmp_path)
    solver_of(small).net.save("models/lenet/lenet_iter_10000.caffemodel")
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out.endswith("(20, 1, 5, 5)\n")


@pytest.mark.slow
def test_lenet_learns_mnist(real):
    """At least .97 of the test digits at iteration 1,000, .99 at the end."""
    solver = solver_of(real, random_seed=1)
    solver.step(1000)
    assert accuracy(solver) >= 0.97
    solver.step(solver.param.max_iter - solver.iter)
    assert accuracy(solver) >= 0.99


@pytest.mark.slow
def test_lenet5_learns_mnist(real):
    solver = solver_of(real, "lenet5_solver.prototxt", random_seed=1)
    solver.step(solver.param.max_iter)
    assert accuracy(solver) >= 0.985
