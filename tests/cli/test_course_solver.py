"""The solver file of the course that caffe-lite comes from, as it stands, on a net that reads images and crops them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import device, get_solver
from pycaffe_lite.cli import main
from pycaffe_lite.errors import DeviceError

SOLVER = """
net: "train_val.prototxt"
test_iter: 3
test_interval: 5
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 100000
momentum: 0.2
weight_decay: 0.0005
snapshot: 10000
snapshot_prefix: "models/train"
solver_mode: GPU
"""
NET = """
name: "course"
layer { name: "data" type: "ImageData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 24 scale: 0.01 mean_value: 104 mean_value: 117 mean_value: 123 }
  image_data_param { source: "train.txt" root_folder: "images/" batch_size: 8 shuffle: true
                     new_height: 28 new_width: 28 } }
layer { name: "data" type: "ImageData" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 24 scale: 0.01 mean_value: 104 mean_value: 117 mean_value: 123 }
  image_data_param { source: "test.txt" root_folder: "images/" batch_size: 4 new_height: 28 new_width: 28 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
TRAIN = ("train", "--solver", "solver.prototxt", "--cpu")


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Its folder, which is entered: JPEGs whose class is the colour that prevails, and the solver with some fields."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(1)
    for name, count in (("train", 30), ("test", 12)):
        with open(tmp_path / f"{name}.txt", "w") as file:
            for i in range(count):
                pixels = rng.integers(0, 120, (30, 36, 3), dtype=np.uint8)
                pixels[..., i % 3] += 120
                image.fromarray(pixels).save(tmp_path / "images" / f"{name}{i}.jpg")
                file.write(f"{name}{i}.jpg {i % 3}\n")
    (tmp_path / "train_val.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)

    def write(fields: str = "") -> None:
        (tmp_path / "solver.prototxt").write_text(SOLVER + fields)

    write()
    return write


def test_without_max_iter_it_tests_and_says_why_it_does_not_train(course, capsys):
    assert main(TRAIN) == 0
    log = capsys.readouterr().err
    assert "Test net output #0: accuracy" in log and "Optimization Done." in log
    assert log.count("max_iter is not given, so nothing is trained") == 1
    assert not Path("models").exists(), "0 is a multiple of snapshot, so Caffe writes nothing either"


def test_it_learns_and_leaves_its_snapshot(course, capsys):
    assert main((*TRAIN, "--iterations", "21")) == 0
    log = capsys.readouterr().err
    accuracies = [float(line.split()[-1]) for line in log.splitlines() if "accuracy = " in line]
    assert len(accuracies) == 5, "at 0, 5, 10, 15 and 20"
    assert accuracies[-1] == 1
    assert sorted(path.name for path in Path("models").iterdir()) == [
        "train_iter_21.caffemodel",
        "train_iter_21.resume.json",
        "train_iter_21.solverstate",
    ]
    assert "max_iter" not in log.split("Solving course")[1]


def test_from_python_too(course):
    device.set_mode_cpu()
    solver = get_solver("solver.prototxt")
    assert solver.step(21) < 0.5 and solver.iter == 21


def test_without_the_option_it_wants_the_gpu(course, capsys):
    try:
        device.gpu()
        pytest.skip("there is one")
    except DeviceError:
        pass
    assert main(TRAIN[:3]) == 1
    assert "solver.prototxt:13:1: solver_mode: GPU" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["", ".h5"])
def test_stopped_and_going_on_from_the_newest_it_ends_where_it_would_have_ended(course, ending):
    if ending:
        pytest.importorskip("h5py")
    course("random_seed: 3" + (" snapshot_format: HDF5" if ending else ""))
    straight = Path("solver.prototxt").read_text().replace("models/train", "straight")
    Path("straight.prototxt").write_text(straight)
    assert main(("train", "--solver", "straight.prototxt", "--cpu", "--iterations", "11")) == 0
    assert main((*TRAIN, "--iterations", "7")) == 0
    assert main((*TRAIN, "--iterations", "11", "--snapshot", "auto")) == 0
    assert {path.name for path in Path("models").glob("*.solverstate*")} == {
        f"train_iter_7.solverstate{ending}", f"train_iter_11.solverstate{ending}"
    }  # fmt: skip
    assert main(("diff", f"models/train_iter_11.caffemodel{ending}", f"straight_iter_11.caffemodel{ending}")) == 0
