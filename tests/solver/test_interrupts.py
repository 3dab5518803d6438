"""Ctrl-C (a notebook's interrupt) during step or fit: at whatever moment it comes, training can go on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.data import mnist, synthetic_digits
from pycaffe_lite.device import CPU
from pycaffe_lite.proto import SolverParameter, text

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts on this system")

NET = """
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
        data_param { source: "%s" backend: LMDB batch_size: 16 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def solver(tmp_path, device) -> caffe.Solver:
    images, labels = synthetic_digits.render(400, seed=3)
    mnist.write_database(str(tmp_path / "digits"), mnist.Digits(images, labels))
    message = (
        f"net_param {{ {NET % (tmp_path / 'digits')} }} test_iter: 3 test_interval: 40 base_lr: 0.02 momentum: 0.9 "
        f'lr_policy: "fixed" max_iter: 100000 random_seed: 7'
    )
    return caffe.get_solver(text.parse(message, SolverParameter()))


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt in this block when so much time has passed."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_step_goes_on_after_any_interrupt(solver):
    solver.step(3)
    first = float(solver.net.blobs["loss"].data)
    moments = random.Random(1)
    for _ in range(60 if solver.net.device is CPU else 20):
        at = solver.iter
        with pytest.raises(KeyboardInterrupt), interrupted_after(moments.uniform(0.0005, 0.02)):
            solver.step(1_000_000)
        assert solver.iter >= at
    solver.step(max(0, 80 - solver.iter))  # where every iteration was interrupted, the training is still to come
    loss = np.mean([solver.step(1) for _ in range(20)])
    assert loss < first / 2
    solver.test_all()
    fresh = caffe.get_solver(solver.param).net
    for name, blobs in solver.net.params.items():
        for mine, theirs in zip(blobs, fresh.params[name], strict=True):
            assert np.isfinite(mine.data).all()
            theirs.data[...] = mine.data
    for net in (solver.net, fresh):
        net.blobs["data"].data[...] = np.linspace(0, 1, net.blobs["data"].count).reshape(net.blobs["data"].shape)
        net.forward(start="conv", end="ip")
    np.testing.assert_array_equal(fresh.blobs["ip"].data, solver.net.blobs["ip"].data)


def test_fit_keeps_what_it_has_seen(solver):
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.5):
        solver.fit(1_000_000)
    seen = solver.history
    assert len(seen["loss"]) > 0 and abs(len(seen["loss"]) - solver.iter) <= 1
    assert seen.tests["accuracy"][0, 0] == 0
    assert solver.report.all.count(seen) == 0, "nobody listens any more"
    again = solver.fit(5)
    assert again is solver.history and len(again["loss"]) == 5
