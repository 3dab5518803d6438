"""The command line and a GPU: choosing one, asking what there is, and what the doctor says."""

from __future__ import annotations

import sys

import pytest

from pycaffe_lite import cli, device
from pycaffe_lite.backend.gpu.device import CupyGpu

SOLVER = """base_lr: 0.1 lr_policy: "fixed" max_iter: 2 snapshot_after_train: false net_param {
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape { dim: 2 dim: 2 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" } }
"""


@pytest.fixture
def train(tmp_path, capsys, monkeypatch):
    """Train with this solver_mode and these options; returns what was logged, and the device that was chosen."""
    monkeypatch.setattr(device._current, "device", device.CPU)

    def run(mode: str, *options: str):
        (tmp_path / "solver.prototxt").write_text(SOLVER + mode)
        status = cli.main(["train", "--solver", str(tmp_path / "solver.prototxt"), *options])
        return status, capsys.readouterr().err, device.current()

    return run


@pytest.mark.parametrize(
    "mode, options, line",
    [
        ("solver_mode: GPU", [], "Using GPU 0"),
        ("solver_mode: CPU", ["--gpu", "0"], "Using GPU 0"),
        ("", [], "Using GPU 0: solver_mode is not given"),
        ("", ["--cpu"], "Use CPU."),
        ("solver_mode: GPU", ["--cpu"], "Use CPU."),
        ("solver_mode: CPU", [], "Use CPU."),
    ],
)
def test_the_device_is_chosen_and_told(nvidia, train, mode, options, line):
    status, log, chosen = train(mode, *options)
    assert status == 0 and line in log
    assert isinstance(chosen, CupyGpu) == line.startswith("Using GPU")


def test_without_a_gpu_an_unset_mode_is_the_cpu(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    status, log, chosen = train("")
    assert status == 0 and "Use CPU." in log and chosen is device.CPU


def test_options_reach_the_gpu(nvidia, train):
    _, _, chosen = train("solver_mode: GPU", "--no-graph", "--tf32")
    assert not chosen.captures and chosen.dnn.math == 0
    _, _, chosen = train("solver_mode: GPU")
    assert chosen.captures and chosen.dnn.math == 3


def test_device_query_prints_caffes_lines(nvidia, capsys):
    assert cli.main(["device_query", "-gpu", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Device id:                     0"
    assert "Name:                          Emulated GPU" in lines
    assert "Maximum dimension of block:    1024, 1024, 64" in lines
    assert "Concurrent copy and execution: Yes" in lines
    assert cli.main(["device-query", "--gpu", "1"]) == 1
    assert "must be the number of a GPU, below 1, or all, got '1'" in capsys.readouterr().err


def test_device_query_without_cupy_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert cli.main(["device-query"]) == 1
    assert "pip install 'caffe-lite[gpu]'" in capsys.readouterr().err


def test_the_doctor_finds_a_healthy_machine(nvidia, capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for told in ("CPU kernels      compile, run", "GPU kernels      compile, run", "Emulated GPU, 1 GB, sm_90"):
        assert told in out
    assert "[ok] cuBLAS           version 13.2.0" in out and "[ok] cuDNN            version 9.28.0" in out


def test_the_doctor_tells_what_is_missing_and_how_to_get_it(nvidia, capsys):
    nvidia.clear()
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "[--] cuDNN            not installed: our own kernels compute convolutions; pip install" in out
    assert "[ok] GPU kernels" in out


def test_the_doctor_finds_what_does_not_work(nvidia, capsys, monkeypatch):
    monkeypatch.setattr(type(nvidia["cublas"]), "gemm", lambda self, *args: None)
    assert cli.main(["doctor"]) == 1
    assert "[!!] GPU kernels      do not work: ArithmeticError" in capsys.readouterr().out


def test_the_doctor_does_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert cli.main(["doctor"]) == 0
    assert "[--] GPU              a GPU needs CuPy" in capsys.readouterr().out
