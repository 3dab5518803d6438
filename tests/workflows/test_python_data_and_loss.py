"""A data layer and a loss written in Python, as pycaffe's examples teach them, train a net as the built-in ones do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import PythonLayerError

# As such files are: `import caffe`, parameters as a dict in param_str, blobs written in place.
LAYERS = '''
import json

import caffe
import numpy as np


class LineData(caffe.Layer):
    """Points of y = 2 x + 1, a batch at a time, in an order of its own."""

    def setup(self, bottom, top):
        params = json.loads(self.param_str)
        self.batch_size, self.width = params["batch_size"], params["width"]
        if len(top) != 2:
            raise Exception("Need two tops: data and target.")
        if len(bottom) != 0:
            raise Exception("Do not define a bottom.")
        self.rng = np.random.default_rng(params["seed"])
        self.count = 0

    def reshape(self, bottom, top):
        top[0].reshape(self.batch_size, self.width)
        top[1].reshape(self.batch_size, self.width)

    def forward(self, bottom, top):
        for item in range(self.batch_size):
            x = self.rng.normal(size=self.width)
            top[0].data[item, ...] = x
            top[1].data[item, ...] = 2 * x + 1
        self.count += 1

    def backward(self, top, propagate_down, bottom):
        pass


class EuclideanLoss(caffe.Layer):
    """The same as the layer type of that name."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if not propagate_down[i]:
                continue
            sign = 1 if i == 0 else -1
            bottom[i].diff[...] = sign * self.diff / bottom[i].num
'''
NET = """
layer {{ name: "data" type: "Python" top: "data" top: "target"
        python_param {{ module: "line_layers" layer: "LineData"
                       param_str: '{{"batch_size": 8, "width": 3, "seed": 4}}' }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" bottom: "ip" bottom: "target" top: "loss" {loss} }}
"""
PYTHON_LOSS = 'type: "Python" python_param { module: "line_layers" layer: "EuclideanLoss" } loss_weight: 1'


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, with line_layers.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "line_layers", raising=False)
    Path("line_layers.py").write_text(LAYERS)
    yield tmp_path
    sys.modules.pop("line_layers", None)


def solver(loss: str) -> caffe.Solver:
    Path("net.prototxt").write_text(NET.format(loss=loss))
    Path("solver.prototxt").write_text(
        'train_net: "net.prototxt" base_lr: 0.2 momentum: 0.5 lr_policy: "fixed" random_seed: 3 snapshot_prefix: "s"'
    )
    return caffe.SGDSolver("solver.prototxt")


def test_they_train_a_net_as_the_built_in_loss_does(folder):
    ours, theirs = solver(PYTHON_LOSS), solver('type: "EuclideanLoss"')
    for mine, other in zip(ours.net.params["ip"], theirs.net.params["ip"], strict=True):
        mine.data[...] = other.data
    losses = []
    for _ in range(60):
        losses.append(ours.step(1))
        np.testing.assert_allclose(losses[-1], theirs.step(1), rtol=1e-4, atol=1e-6)
    assert losses[0] > 1 > 1e-3 > losses[-1]
    np.testing.assert_allclose(ours.net.params["ip"][0].data, 2 * np.eye(3), atol=0.05)
    np.testing.assert_allclose(ours.net.params["ip"][1].data, 1, atol=0.05)
    assert ours.net.layer_dict["data"].type == "Python"


def test_gradients_reach_the_layers_below(folder):
    made = solver(PYTHON_LOSS)
    made.net.forward()
    made.net.clear_param_diffs()
    made.net.backward()
    difference = (made.net.blobs["ip"].data - made.net.blobs["target"].data) / 8
    np.testing.assert_allclose(made.net.blobs["ip"].diff, difference, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        made.net.params["ip"][0].diff, difference.T @ made.net.blobs["data"].data, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('bottom: "target" top: "loss"', 'top: "loss"', r"layer 'loss' \(Python\): .*\n(.*\n)*.*Need two inputs"),
        ("num_output: 3", "num_output: 2", r"layer 'loss' \(Python\): .*\n(.*\n)*.*must have the same dimension"),
        ('"seed": 4', '"sede": 4', r"layer 'data' \(Python\): .*\n(.*\n)*.*KeyError: 'seed'"),
    ],
)
def test_what_the_layers_refuse_is_shown_with_its_place(folder, old, new, message):
    text = NET.format(loss=PYTHON_LOSS)
    assert old in text
    Path("net.prototxt").write_text(text.replace(old, new))
    with pytest.raises(PythonLayerError, match=message) as info:
        caffe.Net("net.prototxt", caffe.TRAIN)
    assert 'line_layers.py", line' in str(info.value)
