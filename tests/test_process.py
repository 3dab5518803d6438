"""What pycaffe keeps for the whole process: log, ranks, stopwatch; devices and seeds for a block."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite import device as devices
from pycaffe_lite.errors import ConfigError, DeviceError

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


def weights() -> np.ndarray:
    return caffe.Net.from_prototxt(NET).params["ip"][0].data.copy()


def test_the_log_is_caffes(capfd):
    caffe.init_log()
    caffe.log("hello")
    assert capfd.readouterr().err.endswith("] hello\n")
    caffe.Net.from_prototxt(NET)
    assert "Creating Layer ip" in capfd.readouterr().err
    caffe.init_log(1)
    caffe.log("unheard")
    logging.getLogger("pycaffe_lite").warning("heard")
    shown = capfd.readouterr().err
    assert "heard" in shown and "unheard" not in shown


def test_without_stderr_records_go_where_logging_sends_them(capfd, caplog):
    caffe.init_log(0, False)
    caffe.log("kept")
    assert "kept" in caplog.text and capfd.readouterr().err == ""
    with pytest.raises(ConfigError, match=r"level must be 0 .*, got 9"):
        caffe.init_log(9)


def test_a_solver_writes_caffes_log_where_somebody_listens(capfd):
    param = caffe.Solver  # the class is there under its name
    assert param.__name__ == "Solver"
    caffe.init_log()
    net = NET + 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }'
    net = net.replace('top: "x" input_param {', 'top: "x" top: "t" input_param { shape { dim: 1 dim: 4 }')
    net = net.replace(
        "shape { dim: 1 dim: 4 } shape { dim: 1 dim: 4 }", "shape { dim: 1 dim: 4 } shape { dim: 1 dim: 3 }"
    )
    message = caffe_solver(net)
    caffe.get_solver(message).step(3)
    shown = capfd.readouterr().err
    assert "solver.cpp:218] Iteration 2 (" in shown and "Train net output #0: loss = 0" in shown


def caffe_solver(net: str):
    from pycaffe_lite.proto import SolverParameter, text

    return text.parse(
        f'net_param {{ {net} }} base_lr: 0.1 lr_policy: "fixed" display: 1 max_iter: 9', SolverParameter()
    )


def test_ranks_are_kept():
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    try:
        caffe.set_solver_count(4)
        caffe.set_solver_rank(2)
        caffe.set_multiprocess(True)
        assert (caffe.solver_count(), caffe.solver_rank()) == (4, 2)
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)
        caffe.set_multiprocess(False)
    with pytest.raises(ConfigError, match="set_solver_count: must be at least 1, got 0"):
        caffe.set_solver_count(0)
    with pytest.raises(ConfigError, match="set_solver_rank: must not be negative, got -1"):
        caffe.set_solver_rank(-1)
    with pytest.raises(DeviceError, match=r"several GPUs \(NCCL\) is not supported"):
        caffe.NCCL.new_uid()


def test_the_stopwatch():
    timer = caffe.Timer()
    timer.start()
    time.sleep(0.002)
    timer.stop()
    assert timer.ms >= 2


def test_a_device_for_a_block():
    with caffe.on_device("cpu") as device:
        assert device is devices.CPU and caffe.Net.from_prototxt(NET).device is devices.CPU
    for wrong in ("tpu", "gpu:", "gpu:x", "cpu:1", ""):
        with pytest.raises(ConfigError, match='must be "cpu", "gpu" or "gpu:N"'), caffe.on_device(wrong):
            pass


def test_a_gpu_for_a_block(monkeypatch):
    asked = []
    monkeypatch.setattr(devices, "gpu", lambda number: asked.append(number) or devices.CPU)
    for name in ("gpu", "gpu:3"):
        with caffe.on_device(name):
            pass
    assert asked == [0, 3] and devices.current() is devices.CPU


def test_a_seed_for_a_block():
    caffe.set_random_seed(5)
    first, second = weights(), weights()
    caffe.set_random_seed(5)
    again = weights()
    with caffe.seeded(42):
        inside = weights()
    assert np.array_equal(weights(), second), "as if the block had not been"
    with pytest.raises(RuntimeError), caffe.seeded(42):
        assert np.array_equal(weights(), inside)
        raise RuntimeError
    assert np.array_equal(again, first) and not np.array_equal(inside, first)
