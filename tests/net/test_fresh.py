"""Gradients that are written are what clearing them and adding leaves there, whatever was there before."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from cases import CASES
from chains import CHAINS, FROZEN, INPUT, LABEL, agree, built, conv, source_of, trained
from exam import Case, Run, build

import pycaffe_lite as caffe
from pycaffe_lite.net import fresh
from pycaffe_lite.net.net import Net
from pycaffe_lite.net.script import Script
from pycaffe_lite.proto import SolverParameter, text

WITH_PARAMETERS = [
    pytest.param(case, id=f"{kind}-{i}")
    for kind, cases in CASES.items()
    for i, case in enumerate(cases)
    if case.gradient and build(case).layer_dict["l"].blobs
]


def backward(net: Net) -> None:
    """Run a fresh backward, on gradients that are no numbers."""
    for entry in net.graph.learnable:
        entry.blob.diff[...] = np.nan
    Script(net.runner, ["backward"], fresh=True).run()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", WITH_PARAMETERS)
def test_every_layer_with_parameters(case: Case, dtype, device, monkeypatch):
    run = Run(build(case, dtype), case)
    run.forward()
    bottoms, params = run.backward()
    run.forward()
    monkeypatch.setattr(run.net, "clear_param_diffs", lambda: None)
    monkeypatch.setattr(run.net, "run_backward", lambda: backward(run.net))
    again = run.backward()
    for got, wanted in zip(again[0] + again[1], bottoms + params, strict=True):
        np.testing.assert_array_equal(got, wanted)


def both(net: Net) -> None:
    net.run_forward()
    backward(net)


@pytest.mark.parametrize("chain", CHAINS)
def test_joined_layers_and_shared_parameters(chain, device):
    wanted = trained(built(source_of(chain), dtype=np.float32))
    agree(trained(built(source_of(chain), dtype=np.float32), both), wanted, 0)


SHARED = 'param { name: "w" } param { name: "b" }'
WRITTEN = {
    "each its own": (conv("a", "x") + conv("b", "a"), {("b", 0), ("a", 0)}),
    "shared: the first of backward": (conv("a", "x", outer=SHARED) + conv("b", "a", outer=SHARED), {("b", 0)}),
    "frozen": (conv("a", "x", outer=FROZEN) + conv("b", "a"), {("b", 0)}),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_who_writes(case):
    layers, wanted = WRITTEN[case]
    end = 'layer { name: "ip" type: "InnerProduct" bottom: "b" top: "ip" inner_product_param { num_output: 3 } }'
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'
    net = built(INPUT % LABEL + layers + end + loss)
    steps = net.runner.plan("backward", fresh=True).steps
    assert {(layer.name, index) for layer, index in fresh.written(steps)} == wanted | {("ip", 0)}
    assert net.runner.plan("backward", fresh=True).lead > 0 and net.runner.plan("backward").lead == 0


def test_an_empty_batch_has_no_gradient():
    layers = conv("a", "x", inside="num_output: 4 kernel_size: 3")
    net = built(INPUT.replace("dim: 3 dim: 4", "dim: 0 dim: 4") % "shape { dim: 0 dim: 3 }" + layers + source_end("a"))
    net.run_forward()
    backward(net)
    assert all((blob.diff == 0).all() for blobs in net.params.values() for blob in blobs)


def source_end(name: str) -> str:
    ip = 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }'
    end = f'layer {{ name: "ip" type: "InnerProduct" bottom: "{name}" top: "ip" {ip} }}'
    return end + 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'


ADDS = """
import numpy as np
import pycaffe_lite as caffe

class Shift(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data[0]
    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += top[0].diff.sum()
        bottom[0].diff[...] = top[0].diff
"""
PYTHON = 'layer { name: "p" type: "Python" bottom: "a" top: "p" python_param { module: "adding" layer: "Shift" } }'


def solver_of(source: str, more: str) -> caffe.Solver:
    message = text.parse(f'{more} base_lr: 0.05 lr_policy: "fixed" max_iter: 9 random_seed: 3', SolverParameter())
    message.net_param.CopyFrom(text.parse(source, caffe.proto.NetParameter()))
    return caffe.get_solver(message)


def steps_of(solver: caffe.Solver, watched: bool) -> list[np.ndarray]:
    """Parameters and what is in their gradients, after some iterations and what others do in between."""
    rng, seen, number = np.random.default_rng(0), [], count()
    if watched:
        solver.add_callback(lambda: None, lambda: None)
    for _ in range(3):
        for name in solver.net.inputs:
            blob = solver.net.blobs[name]
            blob.data[...] = rng.standard_normal(blob.shape)
        solver.step(1)
        seen += [array.copy() for e in solver.net.graph.learnable for array in (e.blob.data, e.blob.diff)]
        if next(number) == 1:  # by hand gradients add up, as in Caffe; the next iteration does not see them
            solver.net.forward()
            solver.net.backward()
            solver.net.backward()
            seen += [e.blob.diff.copy() for e in solver.net.graph.learnable]
    return seen


SOLVERS = {
    "SGD": "momentum: 0.9 weight_decay: 0.01",
    "clipped": "momentum: 0.9 clip_gradients: 0.01",
    "two passes": "momentum: 0.9 iter_size: 2",
    "Adam": 'type: "Adam" momentum: 0.9 momentum2: 0.99 delta: 1e-8 iter_size: 3',
}


@pytest.mark.parametrize("more", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("chain", ["residual", "shared parameters", "frozen convolution", "inner product and ReLU"])
def test_iterations_are_the_same_where_somebody_watches(chain, more, device):
    wanted = steps_of(solver_of(source_of(chain), more), watched=True)
    for got, want in zip(steps_of(solver_of(source_of(chain), more), watched=False), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_python_layer_adds_to_what_was_cleared(tmp_path, monkeypatch):
    (tmp_path / "adding.py").write_text(ADDS)
    monkeypatch.syspath_prepend(tmp_path)
    source = INPUT % LABEL + conv("a", "x") + PYTHON + source_end("p")
    for more in SOLVERS.values():
        wanted = steps_of(solver_of(source, more), watched=True)
        for got, want in zip(steps_of(solver_of(source, more), watched=False), wanted, strict=True):
            np.testing.assert_array_equal(got, want)


def test_iterations_follow_shapes():
    found = []
    for watched in (True, False):
        solver = solver_of(source_of("residual"), "momentum: 0.9")
        for batch in (3, 5, 2):
            solver.net.blobs["x"].reshape(batch, 4, 6, 5)
            solver.net.blobs["t"].reshape(batch, 3)
            found.append(steps_of(solver, watched))
    for before, after in zip(found[:3], found[3:], strict=True):
        for got, want in zip(after, before, strict=True):
            np.testing.assert_array_equal(got, want)
