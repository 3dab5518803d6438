"""Chains of layers that passes join, the nets they are in, and all that there is to see of a run of these."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pycaffe_lite import random
from pycaffe_lite.net import passes
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse

INPUT = 'layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 3 dim: 4 dim: 6 dim: 5 } %s } } '
LABEL = "shape { dim: 3 dim: 3 }"
END = (
    'layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip" inner_product_param { num_output: 3 '
    'weight_filler { type: "xavier" } } } '
    'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'
)


def layer(name, kind, bottom, top=None, inside=""):
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or bottom}" {inside} }} '


def conv(name, bottom, top=None, inside="num_output: 4 kernel_size: 3 pad: 1", outer=""):
    fill = 'weight_filler { type: "xavier" } bias_filler { type: "uniform" min: -0.2 max: 0.2 }'
    return layer(name, "Convolution", bottom, top or name, f"{outer} convolution_param {{ {inside} {fill} }}")


def norm(at, tops=None, bn="", scale="bias_term: true", outer=""):
    """BatchNorm and Scale, in place unless told otherwise."""
    first, second = tops or (at, at)
    fill = 'filler { type: "uniform" min: -1 max: 1.5 } bias_filler { type: "uniform" min: -0.5 max: 0.5 }'
    made = layer(f"{at}_bn", "BatchNorm", at, first, f"batch_norm_param {{ {bn} }}")
    return made + layer(f"{at}_scale", "Scale", first, second, f"{outer} scale_param {{ {scale} {fill} }}")


def relu(at, top=None, inside=""):
    return layer(f"{at}_relu", "ReLU", at, top, inside)


def pooled(bottom, top, inside="kernel_size: 2 stride: 2"):
    return layer(f"{bottom}_pool", "Pooling", bottom, top, f"pooling_param {{ {inside} }}")


FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
LEAKY = "relu_param { negative_slope: 0.1 }"
BLOCK = (
    conv("a", "x") + norm("a") + relu("a") + conv("b", "a") + norm("b")
    + layer("s", "Eltwise", "a b", "s") + relu("s") + conv("c", "s") + norm("c") + relu("c") + conv("d", "c")
    + norm("d") + layer("u", "Eltwise", "s d", "u") + relu("u")
)  # fmt: skip
CHAINS = {
    "convolution and ReLU": conv("a", "x") + relu("a") + END % "a",
    "with a name between": conv("a", "x") + relu("a", "b") + END % "b",
    "that somebody else reads": conv("a", "x") + relu("a", "b") + layer("s", "Eltwise", "a b", "c") + END % "c",
    "leaky": conv("a", "x") + relu("a", inside=LEAKY) + END % "a",
    "negative slope": conv("a", "x") + relu("a", "b", "relu_param { negative_slope: -0.5 }") + END % "b",
    "without bias": conv("a", "x", inside="num_output: 4 kernel_size: 2 bias_term: false") + relu("a") + END % "a",
    "groups": conv("a", "x", inside="num_output: 4 kernel_size: 3 group: 2") + relu("a") + END % "a",
    "depthwise": conv("a", "x", inside="num_output: 4 kernel_size: 3 group: 4") + relu("a") + END % "a",
    "convolution and pool": conv("a", "x") + pooled("a", "b") + END % "b",
    "convolution, ReLU and pool": conv("a", "x") + relu("a") + pooled("a", "b") + END % "b",
    "a ReLU with a name of its own, and pool": conv("a", "x") + relu("a", "c") + pooled("c", "b") + END % "b",
    "leaky ReLU and pool": conv("a", "x") + relu("a", inside=LEAKY) + pooled("a", "b") + END % "b",
    "overlapping windows": conv("a", "x") + pooled("a", "b", "kernel_size: 3 stride: 2 pad: 1") + END % "b",
    "means": conv("a", "x") + relu("a") + pooled("a", "b", "pool: AVE kernel_size: 3 stride: 2") + END % "b",
    "global pooling": conv("a", "x") + pooled("a", "b", "pool: AVE global_pooling: true") + END % "b",
    "a pool whose bottom somebody else reads": conv("a", "x") + pooled("a", "b", "kernel_size: 3 stride: 1 pad: 1")
        + layer("s", "Eltwise", "a b", "s") + END % "s",
    "two pools": conv("a", "x") + pooled("a", "b", "kernel_size: 2 stride: 1") + pooled("b", "c") + END % "c",
    "inner product and ReLU": layer("a", "InnerProduct", "x", "a", "inner_product_param { num_output: 5 "
        'weight_filler { type: "xavier" } }') + relu("a") + END % "a",
    "inner product without bias": layer("a", "InnerProduct", "x", "a", "inner_product_param { num_output: 5 "
        'bias_term: false weight_filler { type: "xavier" } }') + relu("a") + END % "a",
    "BatchNorm and Scale": conv("a", "x") + norm("a") + END % "a",
    "and ReLU": conv("a", "x") + norm("a") + relu("a") + END % "a",
    "and leaky ReLU": conv("a", "x") + norm("a") + relu("a", inside=LEAKY) + END % "a",
    "names of their own": conv("a", "x") + norm("a", ("b", "c")) + relu("c", "d") + END % "d",
    "global statistics": conv("a", "x") + norm("a", bn="use_global_stats: true") + relu("a") + END % "a",
    "no bias in Scale": conv("a", "x") + norm("a", scale="") + relu("a") + END % "a",
    "frozen Scale": conv("a", "x") + norm("a", outer=FROZEN) + relu("a") + END % "a",
    "frozen convolution": conv("a", "x", outer=FROZEN) + norm("a") + relu("a") + END % "a",
    "a Scale of single values": conv("a", "x") + norm("a", scale="axis: 1 num_axes: 2") + relu("a") + END % "a",
    "eps": conv("a", "x") + norm("a", bn="eps: 0.5 moving_average_fraction: 0.7") + END % "a",
    "residual": BLOCK + END % "u",
    "residual of many channels": BLOCK.replace("num_output: 4", "num_output: 16") + END % "u",
    "residual with a convolution in the shortcut": conv("a", "x") + relu("a") + conv("b", "a") + norm("b")
        + conv("c", "a") + norm("c") + layer("s", "Eltwise", "b c", "s") + relu("s", inside=LEAKY) + conv("d", "s")
        + conv("e", "s") + layer("u", "Eltwise", "d e", "u") + END % "u",
    "the shortcut behind the branch": conv("a", "x") + conv("b", "a") + norm("b") + conv("c", "a") + relu("c")
        + layer("s", "Eltwise", "b c", "s") + relu("s") + END % "s",
    "a sum without ReLU": conv("a", "x") + conv("b", "a") + norm("b") + layer("s", "Eltwise", "b a", "s") + END % "s",
    "a norm added to itself": conv("a", "x") + norm("a") + layer("s", "Eltwise", "a a", "s") + relu("s") + END % "s",
    "weighted sum": conv("a", "x") + conv("b", "x") + layer("s", "Eltwise", "a b", "s",
        "eltwise_param { coeff: 1 coeff: -2 }") + relu("s") + END % "s",
    "three in a sum": conv("a", "x") + conv("b", "x") + conv("c", "x")
        + layer("s", "Eltwise", "a b c", "s") + relu("s") + END % "s",
    "nested sums": conv("a", "x") + conv("b", "a") + layer("s", "Eltwise", "a b", "s") + conv("c", "x")
        + layer("u", "Eltwise", "s c", "u") + relu("u") + END % "u",
    "a sum of what works in place": conv("a", "x") + relu("a") + conv("b", "x") + relu("b")
        + layer("s", "Eltwise", "a b", "s") + END % "s",
    "a sum with the input": conv("a", "x") + layer("s", "Eltwise", "a x", "s") + relu("s") + END % "s",
    "many readers": conv("a", "x") + relu("a") + "".join(conv(n, "a") for n in "bcdefg")
        + layer("s", "Eltwise", "b c d e f g", "s") + END % "s",
    "a view between": conv("a", "x") + layer("f", "Flatten", "a", "f") + relu("f") + END % "f",
    "a sum of views": conv("a", "x") + layer("f", "Flatten", "a", "f") + conv("b", "x")
        + layer("g", "Flatten", "b", "g") + layer("s", "Eltwise", "f g", "s") + relu("s") + END % "s",
    "shared parameters": conv("a", "x", outer='param { name: "w" } param { name: "b" }') + relu("a")
        + conv("b", "a", outer='param { name: "w" } param { name: "b" }') + relu("b") + END % "b",
    "a sum that is a loss": conv("a", "x") + conv("b", "x") + layer("s", "Eltwise", "a b", "s", "loss_weight: 0.1")
        + layer("r", "Reduction", "s", "r", "loss_weight: 1"),
}  # fmt: skip


def built(source, phase="TRAIN", dtype=np.float64, **options):
    param = parse(source, NetParameter())
    param.state.phase = getattr(caffe_pb2, phase)
    random.set_random_seed(5)
    return Net.from_proto(param, dtype=dtype, **options)


def source_of(chain, forced=False):
    return ("force_backward: true " if forced else "") + INPUT % LABEL + CHAINS[chain]


def trained(net, run=None, iterations=2):
    """All that there is to see of a few steps of plain gradient descent: values, gradients, parameters."""
    rng, seen = np.random.default_rng(0), []
    for _ in range(iterations):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
        net.clear_param_diffs()
        if run:
            run(net)
        else:
            net.run_forward()
            net.run_backward()
        seen.append({f"{n} data": b.data.copy() for n, b in net.blobs.items()})
        seen[-1] |= {f"{n} diff": b.diff.copy() for n, b in net.blobs.items()}
        for name, blobs in net.params.items():
            seen[-1] |= {f"{name} {i} diff": b.diff.copy() for i, b in enumerate(blobs)}
            for blob, kept in zip(blobs, net.layer_dict[name].param_propagate_down):
                if kept:
                    blob.data[...] -= 0.1 * blob.diff
            seen[-1] |= {f"{name} {i}": b.data.copy() for i, b in enumerate(blobs)}
    return seen


def agree(results, wanted, tolerance=1e-12, names=None):
    for got, want in zip(results, wanted, strict=True):
        for name, array in want.items():
            if names is None or name in names:
                scale = max(1.0, float(np.abs(array).max(initial=0)))
                np.testing.assert_allclose(got[name] / scale, array / scale, atol=tolerance, rtol=0, err_msg=name)


def hidden(net):
    """What Caffe overwrites too: gradients of blobs whose name several layers work at."""
    return {f"{n.top_names[0]} diff" for n in net.graph.nodes if n.top_names[:1] == n.bottom_names[:1]}


def visible(net, wanted):
    return [name for name in wanted[0] if name not in hidden(net)]


def scored(net, forwards=3):
    """What can be read after each of some forwards; in between, somebody changes the parameters."""
    rng, seen = np.random.default_rng(1), []
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.2, 1.5, blob.shape)
    for _ in range(forwards):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
        net.run_forward()
        seen.append({f"{name} data": net.blobs[name].data.copy() for name in net.graph.kept})
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] *= rng.uniform(0.9, 1.1, blob.shape)
    return seen


def in_parts(net):
    """Forward and backward in three parts, cut in the middle of whatever is joined."""
    last = len(net.layers) - 1
    cuts = sorted({0, last // 3, 2 * last // 3 + 1, last + 1})
    for low, high in pairwise(cuts):
        net.run_forward(low, high - 1)
    for low, high in reversed(list(pairwise(cuts))):
        net.run_backward(high - 1, low)


def whole_then_layers(net):
    """A joined forward, and a backward layer by layer."""
    net.run_forward()
    for index in reversed(range(len(net.layers))):
        net.run_backward(index, index)


def layers_then_whole(net):
    """The other way round, behind a backward that is to leave no traces."""
    for index in range(len(net.layers)):
        net.run_forward(index, index)
    if not net.graph.kept < set(net.blobs):  # shared memory is good for one backward
        net.run_backward()
        net.clear_param_diffs()
    net.run_backward()


def launched(net, direction):
    return [[node.layer.type for node in step.nodes] for step in passes.schedule(net.graph, direction).steps]
