"""Nets on a device whose memory is not the host's: same values, and nothing crosses the border unasked."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from pycaffe_lite import Net, device, random
from pycaffe_lite.device import Cpu
from pycaffe_lite.proto import NetParameter, SolverParameter, text
from pycaffe_lite.solver.solver import Solver

SOURCE = """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 4 channels: 1 height: 6 width: 6 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
"""


class Elsewhere(Cpu):
    """The CPU behind a border: its arrays are its own, and copies over the border are counted."""

    name = "elsewhere"

    def __init__(self):
        self.into, self.out = 0, 0

    def copy_in(self, device_array, host):
        self.into += 1
        super().copy_in(device_array, host)

    def copy_out(self, host, device_array):
        self.out += 1
        super().copy_out(host, device_array)


@pytest.fixture
def elsewhere(monkeypatch):
    made = Elsewhere()
    monkeypatch.setattr(device._current, "device", made)
    return made


def built(**options) -> Net:
    param = text.parse(SOURCE, NetParameter())
    param.state.phase = 0
    random.set_random_seed(3)
    net = Net.from_proto(param, **options)
    feed(net)
    return net


def feed(net: Net) -> None:
    rng = np.random.default_rng(0)
    net.set_input_arrays(rng.standard_normal((12, 1, 6, 6)).astype(np.float32), rng.integers(0, 5, 12))


@contextmanager
def on_the_cpu():
    before, device._current.device = device.current(), device.CPU
    yield
    device._current.device = before


@pytest.mark.parametrize("share", [False, True])
def test_a_net_computes_the_same_elsewhere(elsewhere, share):
    there = built(share_memory=share)
    with on_the_cpu():
        reference = built()
    assert there.device is elsewhere and reference.device is device.CPU
    for _ in range(4):
        for net in (there, reference):
            net.clear_param_diffs()
            net.run_forward()
            net.run_backward()
        assert there.loss() == reference.loss()
        for name in there.outputs:
            np.testing.assert_array_equal(there.blobs[name].data, reference.blobs[name].data)
        for name, blobs in there.params.items():
            for mine, wanted in zip(blobs, reference.params[name], strict=True):
                np.testing.assert_array_equal(mine.diff, wanted.diff)
                mine.data[...] -= 0.1 * mine.diff
                wanted.data[...] -= 0.1 * wanted.diff


def test_an_iteration_moves_the_batch_in_and_the_loss_out(elsewhere):
    net = built()
    for _ in range(2):
        net.run_forward()
        net.run_backward()
    elsewhere.into = elsewhere.out = 0
    net.run_forward()
    assert (elsewhere.into, elsewhere.out) == (2, 1), "data and labels in, the loss out"
    net.run_backward()
    assert (elsewhere.into, elsewhere.out) == (2, 1), "nobody has asked for a gradient"
    net.params["conv"][0].data.sum()
    assert elsewhere.out == 1, "a forward does not change the weights"
    net.params["conv"][0].diff.sum()
    net.blobs["ip"].data.sum()
    assert elsewhere.out == 3


def test_what_the_host_writes_is_what_the_device_reads(elsewhere):
    net = built()
    net.run_forward()
    net.blobs["ip"].data[...] = 0
    net.forward(start="loss")
    assert float(net.blobs["loss"].data) == pytest.approx(np.log(5))
    net.params["ip"][0].data[...] = 0
    net.params["ip"][1].data[...] = [0, 0, 9, 0, 0]
    net.forward(start="pool")
    assert net.blobs["ip"].data.tolist() == [[0, 0, 9, 0, 0]] * 4


def test_a_range_brings_only_what_it_reads(elsewhere):
    net = built()
    net.run_forward()
    net.blobs["conv"].data[...] += 1
    elsewhere.into = 0
    net.forward(start="ip", end="ip")
    assert elsewhere.into == 0
    net.forward(start="pool", end="pool")
    assert elsewhere.into == 1


@pytest.mark.parametrize(
    "fields", ["", 'type: "Adam" clip_gradients: 1 iter_size: 2', "ema_decay: 0.5 test_iter: 1 test_interval: 2"]
)
def test_a_solver_trains_the_same_elsewhere(elsewhere, fields):
    def solver() -> Solver:
        source = f'net_param {{ {SOURCE} }} base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" random_seed: 4 {fields}'
        made = Solver(text.parse(source, SolverParameter()))
        for net in (made.net, *made.test_nets):
            feed(net)
        return made

    there = solver()
    with on_the_cpu():
        reference = solver()
    for _ in range(5):
        assert there.step(1) == reference.step(1)
        for mine, wanted in zip(there.net.params["ip"], reference.net.params["ip"], strict=True):
            np.testing.assert_array_equal(mine.data, wanted.data)
            mine.data[...] *= 0.9  # the host has its say too
            wanted.data[...] *= 0.9
