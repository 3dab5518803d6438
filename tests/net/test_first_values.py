"""Parameters get their first values when somebody wants them: building a net costs nothing of their size."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pycaffe_lite import fillers, random
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, SolverParameter, caffe_pb2, text
from pycaffe_lite.solver.solver import TYPES

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
"""


def build(net=NET, **options):
    random.set_random_seed(5)
    return Net.from_proto(text.parse(net, NetParameter()), **options)


@pytest.fixture
def filled(monkeypatch):
    """The shapes that fillers have written so far."""
    shapes, fill = [], fillers.fill

    def note(out, param, rng):
        shapes.append(out.shape)
        fill(out, param, rng)

    monkeypatch.setattr(fillers, "fill", note)
    return shapes


def test_only_what_is_looked_at_is_filled(filled):
    net = build()
    assert filled == []
    assert net.params["b"][0].data.any()
    assert filled == [(2, 3)]
    net.run_forward()
    assert filled == [(2, 3), (3, 4), (3,)]  # not the zero bias of b


def test_values_do_not_depend_on_who_asks_first():
    first, second = build(), build()
    a = [first.params[name][0].data.copy() for name in "ab"]
    b = [second.params[name][0].data.copy() for name in "ba"]
    assert np.array_equal(a[0], b[1]) and np.array_equal(a[1], b[0])
    third = build()
    third.run_forward()
    assert np.array_equal(third.params["a"][0].data, a[0])


def test_what_is_loaded_is_never_filled(filled, tmp_path):
    path = tmp_path / "w.caffemodel"
    trained = build()
    trained.save(path)
    filled.clear()
    net = build()
    net.copy_from(path)
    net.run_forward()
    assert filled == []
    assert np.array_equal(net.params["a"][0].data, trained.params["a"][0].data)


def test_what_is_shared_is_filled_once(filled):
    trained = build()
    net = build(NET.replace('"b"', '"c"'), trained=trained)
    net.run_forward()
    assert filled == [(3, 4), (3,), (2, 3)]
    assert np.array_equal(trained.params["a"][0].data, net.params["a"][0].data)
    assert filled == [(3, 4), (3,), (2, 3)]


def test_the_solver_finds_everything_filled(filled):
    param = SolverParameter(base_lr=0.1, lr_policy="fixed")
    param.net_param.CopyFrom(text.parse(NET, NetParameter()))
    solver = TYPES["SGD"](param)
    assert sorted(filled) == [(2, 3), (3,), (3, 4)]
    assert np.array_equal(solver.net.graph.flat_data[:12].reshape(3, 4), solver.net.params["a"][0].data)


def test_a_filler_that_cannot_be_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"layer 'b'.*unknown filler type 'gausian'; did you mean 'gaussian'"):
        build(NET.replace("gaussian", "gausian"))


def test_a_large_net_builds_without_its_memory():
    big = NET.replace("num_output: 3", "num_output: 100000").replace("num_output: 2", "num_output: 5000")

    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = build(big)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in kB

    assert net.params["b"][0].count == 500_000_000
    assert used < 50_000


def test_the_largest_of_the_corpus_builds_in_two_seconds(shared):
    path = shared / "corpus" / "build" / "neopenx__Dragon" / "examples" / "Seg-FCN" / "transplants" / "VGG16"
    start = time.perf_counter()
    net = Net(path / "net.prototxt", caffe_pb2.TEST)
    assert time.perf_counter() - start < 2
    assert sum(entry.blob.count for entry in net.graph.learnable) == 442_541_888
