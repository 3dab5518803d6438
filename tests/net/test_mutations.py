"""Nets and solvers with something changed in them, whatever it is, either run or are refused in our own words."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from pycaffe_lite import Net
from pycaffe_lite.backend.cpu import workspace
from pycaffe_lite.errors import CaffeError
from pycaffe_lite.proto import NetParameter, SolverParameter, text
from pycaffe_lite.solver.solver import get_solver

NET = """
name: "n" force_backward: false state { phase: TRAIN stage: "a" }
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 2 dim: 6 dim: 6 } shape { dim: 4 } } }
layer { name: "d" type: "DummyData" top: "t" dummy_data_param {
  shape { dim: 4 dim: 5 } data_filler { type: "uniform" min: 0 max: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { name: "w" lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 group: 1 dilation: 1 axis: 1
    weight_filler { type: "xavier" variance_norm: FAN_IN } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 pad: 0 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" dropout_param { dropout_ratio: 0.5 }
  include { phase: TRAIN min_level: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" propagate_down: true
  inner_product_param { num_output: 5 axis: 1 transpose: false bias_term: true
    weight_filler { type: "gaussian" std: 0.1 sparse: -1 } } }
layer { name: "sig" type: "Sigmoid" bottom: "ip" top: "sig" }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc"
  accuracy_param { top_k: 1 axis: 1 ignore_label: 255 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 1
  loss_param { normalization: VALID ignore_label: 3 } softmax_param { axis: 1 } }
layer { name: "eu" type: "EuclideanLoss" bottom: "sig" bottom: "t" top: "eu" }
layer { name: "pw" type: "Power" bottom: "sig" top: "pw" power_param { power: 2 scale: 1 shift: 0 } }
layer { name: "sl" type: "Silence" bottom: "pw" }
"""
SOLVER = """
base_lr: 0.01 lr_policy: "step" gamma: 0.1 power: 0.75 stepsize: 10 stepvalue: 5 momentum: 0.9 weight_decay: 0.0005
max_iter: 3 display: 1 type: "SGD" iter_size: 1 average_loss: 2 clip_gradients: 35 test_iter: 1 test_interval: 2
test_initialization: true random_seed: 3 snapshot_after_train: false delta: 1e-8 momentum2: 0.999 rms_decay: 0.9
regularization_type: "L2"
"""
WORD = re.compile(r'"[^"]*"|[{}]|[\w.+-]+:?')
VALUES = {  # in one line each, with a space between two; the first string is empty
    "string": " a ip data label xavier msra bilinear Concat Softmax Split Scale BatchNorm LRN Flatten Reshape Eltwise "
    "Slice Embed Adam AdaDelta inv poly multistep sigmoid L1",
    "number": "-1 0 1 2 3 7 100 1e30 -1e30 nan inf 0.5 -2147483648 2147483647 99999999999",
    "word": "true false MAX AVE TEST TRAIN FAN_OUT FULL",
}


def kind(word: str) -> str:
    if word.startswith('"'):
        return "string"
    return "number" if re.match(r"[-+.\d]|nan|inf", word) else "word"


def changed(source: str, chance: random.Random) -> str:
    """The source with one or two values replaced by others of their kind, or a field left out."""
    words = WORD.findall(source)
    for _ in range(chance.choice([1, 1, 2])):
        at = chance.choice([i for i, word in enumerate(words) if word not in "{}" and not word.endswith(":")])
        if chance.random() < 0.1:
            del words[at - 1 : at + 1]
        else:
            value = chance.choice(VALUES[kind(words[at])].split(" "))
            words[at] = f'"{value}"' if kind(words[at]) == "string" else value
    return " ".join(words)


def run_net(source: str) -> None:
    net = Net.from_proto(text.parse(source, NetParameter()))
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = np.arange(blob.count).reshape(blob.shape) % 3
    for _ in range(2):
        net.run_forward()
        net.run_backward()


def run_solver(source: str) -> None:
    param = text.parse(f"{source} net_param {{ {NET} }}", SolverParameter())
    param.max_iter, param.iter_size = min(param.max_iter, 5), min(param.iter_size, 3)
    param.test_iter[:] = [min(number, 3) for number in param.test_iter]
    get_solver(param).solve()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source, run", [(NET, run_net), (SOLVER, run_solver)], ids=["net", "solver"])
def test_anything_changed_runs_or_is_refused(source, run):
    run(source)
    outcomes = []
    for seed in range(300):
        mutant = changed(source, random.Random(seed))
        try:
            run(mutant)
            outcomes.append("ran")
        except CaffeError as error:
            assert str(error)
            outcomes.append("refused")
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__} came out of\n{mutant}") from error
    assert min(outcomes.count("ran"), outcomes.count("refused")) > 60, "both happen"


@pytest.mark.parametrize(
    "old, new",
    [
        ("stride: 1 group", "stride: 2147483647 group"),  # made room for a step that long
        ("stride: 1 group", "stride: 100 group"),
        ("dim: 4 dim: 2 dim: 6", "dim: 0 dim: 2 dim: 6"),
        ("max: 1 }", "max: inf }"),
        ("kernel_size: 3 pad: 1", "kernel_size: 6 pad: 0"),
    ],
)
def test_what_mutations_have_found(old, new):
    assert old in NET
    try:
        run_net(NET.replace(old, new))
    except CaffeError as error:
        assert "layer 'd' (DummyData)" in str(error) or "dim: 0" in new


def test_what_one_net_could_not_have_does_not_harm_the_next(monkeypatch):
    workspace.provide_scratch(1)
    with pytest.raises(MemoryError):
        workspace.scratch(10**16)
    workspace.scratch(64)
