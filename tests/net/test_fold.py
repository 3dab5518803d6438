"""Folding BatchNorm, Scale and Bias: the scores stay, the layers go, and what cannot be folded is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.errors import CaffeError
from pycaffe_lite.net import offline, probe
from pycaffe_lite.net.merge_bn import merge
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 5 dim: 6 } } } '
FLAT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } } '
LAST = 'layer { name: "last" type: "Power" bottom: "%s" top: "y" power_param { scale: 2 } }'


def layer(name, kind, bottom, top, inside=""):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {inside} }} '


def conv(inside="", name="conv", top="a", outer=""):
    fields = f"{outer} convolution_param {{ {inside} num_output: 6 kernel_size: 3 }}"
    return layer(name, "Convolution", "x", top, fields)


def nets(text, seed=1):
    """A net in float64 with random parameters, what `merge` makes of it, and that as a net."""
    param = offline.in_state(parse(text, NetParameter()), caffe_pb2.TEST)
    net = Net.from_proto(param, dtype=np.float64)
    rng = np.random.default_rng(seed)
    for made in net.layers:
        for blob in made.blobs:
            blob.data[...] = rng.uniform(0.2, 1.5, blob.shape)
            if made.type != "BatchNorm":
                blob.data[...] -= 0.9
    merged = merge(param, probe.arrays(net))
    after = Net.from_proto(merged.param, dtype=np.float64)
    for name, arrays in merged.arrays.items():
        for blob, values in zip(after.params[name], arrays, strict=True):
            blob.data[...] = values
    return net, merged, after


def check_same(net, after):
    shared = {name: name for name in net.blobs if name in after.blobs}
    assert "y" in shared
    difference, where = probe.largest_difference(net, after, shared)
    assert difference < 1e-13, where


BN_SCALE = layer("bn", "BatchNorm", "a", "a") + layer("scale", "Scale", "a", "a", "scale_param { bias_term: true }")
CHAINS = {
    "in place": conv() + BN_SCALE + LAST % "a",
    "without bias": conv("bias_term: false") + BN_SCALE + LAST % "a",
    "not in place": conv() + layer("bn", "BatchNorm", "a", "b") + layer("scale", "Scale", "b", "c") + LAST % "c",
    "BatchNorm alone": conv() + layer("bn", "BatchNorm", "a", "a", "batch_norm_param { eps: 0.01 }") + LAST % "a",
    "Scale alone": conv() + layer("scale", "Scale", "a", "a") + LAST % "a",
    "Bias alone": conv() + layer("bias", "Bias", "a", "b") + LAST % "b",
    "all of them": conv() + BN_SCALE + layer("bias", "Bias", "a", "b") + layer("bn2", "BatchNorm", "b", "y"),
    "groups": conv("group: 2") + BN_SCALE + LAST % "a",
    "the last layer": conv() + layer("bn", "BatchNorm", "a", "b") + layer("scale", "Scale", "b", "y"),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_convolutions(chain):
    net, merged, after = nets(INPUT + CHAINS[chain])
    check_same(net, after)
    assert not {"BatchNorm", "Scale", "Bias"} & {made.type for made in after.layers}
    assert list(merged.folded) == ["conv"] and merged.kept == {}
    assert after.layer_dict["conv"].message.convolution_param.bias_term


DECONVOLUTION = INPUT + layer("d", "Deconvolution", "x", "a", "convolution_param { num_output: 6 kernel_size: 2 %s }")
INNER_PRODUCT = FLAT + layer("d", "InnerProduct", "x", "a", "inner_product_param { num_output: 5 %s }")
DEPTHWISE = "convolution_param { num_output: 4 group: 4 kernel_size: 1 }"
OTHERS = {
    "Deconvolution": DECONVOLUTION % "",
    "Deconvolution in groups": DECONVOLUTION % "group: 2 bias_term: false",
    "depthwise": INPUT + layer("d", "DepthwiseConvolution", "x", "a", DEPTHWISE),
    "InnerProduct": INNER_PRODUCT % "",
    "transposed": INNER_PRODUCT % "transpose: true",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_linear_layers(kind):
    net, merged, after = nets(OTHERS[kind] + BN_SCALE + LAST % "a")
    check_same(net, after)
    assert merged.folded == {"d": ["bn", "scale"]}


KEPT = {
    "the output of 'conv' has other readers": conv() + layer("bn", "BatchNorm", "a", "b")
    + 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }',
    "the layer in front of it, 'relu', is of type ReLU": conv() + layer("relu", "ReLU", "a", "a")
    + layer("bn", "BatchNorm", "a", "y"),
    "the layer in front of it, 'x', is of type Input": layer("bn", "BatchNorm", "x", "y"),
    "it is not one factor and one bias for each channel that are known before the net runs": conv()
    + layer("bn", "BatchNorm", "a", "y", "batch_norm_param { use_global_stats: false }"),
}  # fmt: skip


@pytest.mark.parametrize("why", KEPT)
def test_what_cannot_be_folded_is_kept(why):
    net, merged, after = nets(INPUT + KEPT[why])
    check_same(net, after)
    assert merged.folded == {} and merged.kept == {"bn": why}


def test_shared_weights_are_left_alone():
    shared = conv(outer='param { name: "w" }') + conv(name="again", top="b", outer='param { name: "w" }')
    net, merged, after = nets(INPUT + shared + layer("bn", "BatchNorm", "a", "y"))
    check_same(net, after)
    assert merged.kept == {"bn": "'conv', in front of it, was not one that it could be folded into"}


@pytest.mark.parametrize("axes", ["axis: 0 num_axes: 2", "axis: 2", "num_axes: 3"])
def test_a_scale_along_other_axes_is_kept(axes):
    scaled = layer("bn", "BatchNorm", "a", "a") + layer("s", "Scale", "a", "y", f"scale_param {{ {axes} }}")
    net, merged, after = nets(INPUT + conv() + scaled)
    check_same(net, after)
    assert merged.folded == {"conv": ["bn"]}
    assert merged.kept["s"].startswith("it is not one factor")


def test_a_scale_by_another_blob_is_kept():
    text = INPUT + conv() + 'layer { name: "s" type: "Scale" bottom: "a" bottom: "a" top: "y" scale_param { axis: 0 } }'
    assert nets(text)[1].folded == {}


def test_a_difference_is_refused():
    net, _, after = nets(INPUT + CHAINS["in place"])
    after.params["conv"][1].data[0] += 0.01
    with pytest.raises(CaffeError, match=r"does not compute the same: blob '[ay]' differs by"):
        probe.refuse_difference(net, after, {"a": "a", "y": "y"}, 1e-4)
    after.params["conv"][1].data[0] = np.nan
    with pytest.raises(CaffeError, match="differs by nan"):
        probe.refuse_difference(net, after, {"y": "y"}, 1e-4)


def test_labels_are_zeros_when_probing():
    text = (
        FLAT
        + """
        layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 3 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" }
        layer { name: "acc" type: "Accuracy" bottom: "x" bottom: "t" top: "acc" }"""
    )
    inputs = probe.random_inputs(Net.from_proto(parse(text, NetParameter())))
    assert not inputs["t"].any() and inputs["x"].all()
