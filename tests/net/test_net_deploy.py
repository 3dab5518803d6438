"""Nets for use, made of nets for training: the same scores from the data alone."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite import random
from pycaffe_lite.net import offline, probe
from pycaffe_lite.net.deploy import deploy
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse

DATA = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "gone" batch_size: 5 } transform_param { crop_size: 6 scale: 0.5 } }
"""
FILLER = 'weight_filler { type: "xavier" } bias_filler { type: "gaussian" }'


def ip(name, bottom, top=None, outputs=4, more=""):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" '
        f"param {{ lr_mult: 1 {more} }} inner_product_param {{ num_output: {outputs} {FILLER} }} }} "
    )


def layer(name, kind, bottoms, tops, more=""):
    ends = "".join(f'bottom: "{bottom}" ' for bottom in bottoms.split()) + "".join(f'top: "{t}" ' for t in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}" {ends} {more} }} '


LOSS = layer("loss", "SoftmaxWithLoss", "ip label", "loss")
ACCURACY = layer("acc", "Accuracy", "ip label", "acc", "include { phase: TEST }")


def made(text, **options):
    """The net for use, and it and the net for testing with one set of weights."""
    random.set_random_seed(2)
    net = offline.in_state(parse(text, NetParameter()), caffe_pb2.TEST)
    result = deploy(net, **options)
    before = Net.from_proto(offline.stand_in(net, shapes=options.get("shapes")).param)
    after = Net.from_proto(result.param, trained=before)
    return result, before, after


def layers(result):
    return [(item.name, item.type) for item in result.param.layer]


def check(result, before, after):
    """The scores agree, and are not trivial."""
    assert result.scores
    worst, where = probe.largest_difference(before, after, {name: name for name in result.scores})
    assert worst == 0, where
    assert any(before.blobs[name].data.std() > 0 for name in result.scores)


def test_a_classifier():
    result, before, after = made('name: "n"' + DATA + ip("ip", "data") + LOSS + ACCURACY)
    check(result, before, after)
    assert result.param == parse(
        """name: "n"
        layer { name: "test" type: "Input" top: "data" input_param { shape { dim: 5 dim: 3 dim: 6 dim: 6 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
        layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }""",
        NetParameter(),
    )
    assert result.dropped == ["acc"]
    assert result.preprocessing == ["data was transformed by: transform_param { scale: 0.5 crop_size: 6 }"]
    assert (after.inputs, after.outputs) == (["data"], ["prob"])
    scores = before.blobs["ip"].data.astype(np.float64)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.abs(after.blobs["prob"].data - softmax).max() < 1e-6


def test_shapes_of_ones_own():
    result, _, after = made(DATA + ip("ip", "data") + LOSS, shapes={"data": (1, 2, 3, 3)})
    assert after.blobs["data"].shape == (1, 2, 3, 3)
    assert result.notes == []


def test_probabilities_of_independent_classes():
    result, before, after = made(
        DATA + ip("ip", "data", outputs=1) + LOSS.replace("SoftmaxWith", "SigmoidCrossEntropy")
    )
    check(result, before, after)
    assert layers(result)[-1] == ("prob", "Sigmoid")
    assert np.abs(after.blobs["prob"].data - 1 / (1 + np.exp(-before.blobs["ip"].data))).max() < 1e-6


def test_axis_second_top_and_a_name_that_is_taken():
    loss = layer("loss", "SoftmaxWithLoss", "scores label", "loss p", "softmax_param { axis: 2 }")
    text = (
        DATA
        + ip("prob", "data", "ip")
        + layer("r", "Reshape", "ip", "scores", "reshape_param { shape { dim: 5 dim: 1 dim: 4 } }")
    )
    result, before, after = made(text + loss)
    check(result, before, after)
    last = result.param.layer[-1]
    assert (last.name, list(last.top), last.softmax_param.axis) == ("loss/prob", ["p"], 2)
    assert np.abs(after.blobs["p"].data.sum(axis=2) - 1).max() < 1e-6


def test_losses_without_scores_of_their_own():
    text = DATA + ip("ip", "data", outputs=1) + layer("loss", "EuclideanLoss", "ip label", "loss")
    result, before, after = made(text)
    check(result, before, after)
    assert after.outputs == ["ip"]
    assert result.dropped == ["loss"]


def test_a_siamese_net_keeps_both_branches():
    text = DATA + layer("slice", "Slice", "data", "a b", "slice_param { slice_point: 1 }")
    text += ip("ip", "a", "fa", more='name: "w"') + ip("ip_p", "b", "fb", more='name: "w"')
    text += layer("loss", "ContrastiveLoss", "fa fb label", "loss")
    result, before, after = made(text, shapes={"data": (5, 2, 6, 6)})
    check(result, before, after)
    assert after.outputs == ["fa", "fb"]
    assert [spec.name for spec in result.param.layer[-1].param] == ["w"]


def test_auxiliary_losses():
    text = DATA + ip("h", "data") + ip("ip", "h") + LOSS + ip("aux", "h")
    text += layer("aux_loss", "SoftmaxWithLoss", "aux label", "aux_loss", "loss_weight: 0.3")
    result, before, after = made(text)
    check(result, before, after)
    assert after.outputs == ["prob"] and result.dropped == ["aux", "aux_loss"]
    result, before, after = made(text, keep_auxiliary=True)
    check(result, before, after)
    assert after.outputs == ["aux_loss/prob", "loss/prob"]


def test_an_autoencoder_that_computes_its_scores_already():
    text = DATA + layer("flat", "Flatten", "data", "flat") + ip("code", "flat") + ip("out", "code", outputs=108)
    text += layer("loss", "SigmoidCrossEntropyLoss", "out flat", "cross", "loss_weight: 1")
    text += layer("sig", "Sigmoid", "out", "image") + layer("l2", "EuclideanLoss", "image flat", "l2", "loss_weight: 0")
    result, before, after = made(text)
    check(result, before, after)
    assert after.outputs == ["image"]


def test_what_only_labels_need_goes_and_other_outputs_stay():
    text = DATA + layer("cut", "Slice", "label", "l1 l2", "slice_param { axis: 0 slice_point: 2 }")
    text += layer("quiet", "Silence", "l2", "") + ip("ip", "data") + layer("best", "ArgMax", "ip", "best")
    text += layer("part", "Slice", "ip", "s1 s2", "slice_param { axis: 0 slice_point: 2 }")
    text += layer("loss", "SoftmaxWithLoss", "s1 l1", "loss")
    result, before, after = made(text)
    check(result, before, after)
    assert after.outputs == ["best", "prob", "s2"]
    assert result.dropped == ["cut", "quiet"]


@pytest.mark.parametrize("tops", ["ip ip", "ip dropped"])
def test_dropout_is_kept_or_not(tops):
    bottom, top = tops.split()
    text = DATA + ip("ip", "data") + layer("drop", "Dropout", bottom, top) + ip("out", top)
    text += layer("loss", "SoftmaxWithLoss", "out label", "loss")
    result, before, after = made(text)
    check(result, before, after)
    assert ("drop", "Dropout") in layers(result)
    result, before, after = made(text, drop_dropout=True)
    check(result, before, after)
    assert [kind for _, kind in layers(result)] == ["Input", "InnerProduct", "InnerProduct", "Softmax"]


def test_a_net_without_loss_only_loses_what_training_needs():
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }' + ip("ip", "x")
    result, before, after = made(text + layer("prob", "Softmax", "ip", "prob"))
    check(result, before, after)
    assert layers(result) == [("x", "Input"), ("ip", "InnerProduct"), ("prob", "Softmax")]
    assert not result.param.layer[1].param and not result.param.layer[1].inner_product_param.HasField("weight_filler")


def test_the_bench_nets(shared):
    for name, count in (("lenet", 9), ("caffenet", 24), ("googlenet", 143), ("resnet50", 229)):
        net = offline.read_selected(str(shared / "bench" / "nets" / f"{name}_train.prototxt"), caffe_pb2.TEST)
        result = deploy(net)
        graph = offline.graph_of(result.param)
        assert (graph.inputs, graph.outputs, len(result.param.layer)) == (["data"], ["prob"], count)
