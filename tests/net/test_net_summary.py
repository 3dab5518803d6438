"""What a net is made of, against numbers worked out by hand and those that papers give."""

from __future__ import annotations

import tracemalloc

import pytest

from pycaffe_lite.net import offline
from pycaffe_lite.net.summary import summarize
from pycaffe_lite.proto import NetParameter
from pycaffe_lite.proto.text import parse

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 0 }
        convolution_param { num_output: 6 group: 3 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" param { name: "w" }
        inner_product_param { num_output: 54 bias_term: false } }
layer { name: "again" type: "InnerProduct" bottom: "ip" top: "again" param { name: "w" }
        inner_product_param { num_output: 54 bias_term: false } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "again" bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "again" top: "prob" include { phase: TEST } }
"""


def summary(text=NET, phase="TRAIN", **shapes):
    net = offline.in_state(parse(text, NetParameter()), getattr(offline, phase))
    standing = offline.stand_in(net, shapes=shapes)
    return summarize(offline.graph_of(standing.param), phase, standing.types)


def test_rows_of_a_small_net():
    rows = {row.name: row for row in summary().rows}
    assert list(rows) == ["data", "label", "conv", "relu", "pool", "ip", "again", "loss"]
    conv = rows["conv"]
    assert conv.tops == [("conv", (2, 6, 6, 6))]
    assert conv.params == [(6, 1, 3, 3), (6,)]
    assert (conv.parameters, conv.multiply_adds) == (60, 2 * 6 * 36 * 9)
    assert conv.flops == 2 * conv.multiply_adds + 2 * 6 * 36  # the bias
    assert conv.activation_bytes == 4 * 2 * 6 * 36
    assert (rows["relu"].flops, rows["relu"].activation_bytes) == (2 * 6 * 36, 0)
    assert (rows["pool"].flops, rows["pool"].multiply_adds) == (2 * 6 * 9 * 4, 0)
    assert (rows["ip"].parameters, rows["ip"].multiply_adds) == (54 * 54, 2 * 54 * 54)
    assert rows["again"].parameters == 0  # those of "ip"
    assert rows["again"].params == [(54, 54)]


def test_totals():
    totals = summary().totals
    assert totals["parameters"] == 60 + 54 * 54
    assert totals["learnable"] == 6 + 54 * 54
    assert totals["parameter_bytes"] == 4 * totals["parameters"]
    values = 2 * (3 * 64 + 1 + 6 * 36 + 6 * 9 + 54 + 54) + 1
    assert totals["activation_bytes"] == 4 * values
    # pool, ip, again, conv's bias below relu, and the parameters that learn
    assert totals["gradient_bytes"] == 4 * (2 * (6 * 36 + 54 + 54 + 54) + totals["learnable"])
    assert summary(phase="TEST").totals["gradient_bytes"] == 0


def test_nothing_is_allocated():
    tracemalloc.start()
    big = summary(data=(5_000_000, 3, 8, 8), label=(5_000_000,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert big.totals["activation_bytes"] > 3e9
    assert peak < 2e7


def test_another_shape():
    small = summary(data=(5, 3, 8, 8), label=(5,))
    assert small.batch == 5
    assert small.rows[0].tops == [("data", (5, 3, 8, 8))]
    assert small.totals["multiply_adds"] * 2 == summary().totals["multiply_adds"] * 5


DATA = """layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "gone" batch_size: 32 }
                  transform_param { crop_size: 24 } }"""


def test_data_that_is_not_here_is_assumed():
    net = parse(DATA, NetParameter())
    standing = offline.stand_in(net)
    assert [tuple(s.dim) for s in standing.param.layer[0].input_param.shape] == [(32, 3, 24, 24), (32,)]
    assert standing.types == {"d": "Data"}
    (note,) = standing.notes
    assert "its data is not here; assumed data=32,3,24,24 label=32" in note


def test_labels_follow_the_batch():
    standing = offline.stand_in(parse(DATA, NetParameter()), shapes={"data": (4, 1, 9, 9)})
    assert [tuple(s.dim) for s in standing.param.layer[0].input_param.shape] == [(4, 1, 9, 9), (4,)]


def test_data_that_is_here_says_its_shape(shared):
    folder = str(shared / "golden" / "files")
    text = DATA.replace("gone", "images_lmdb").replace("crop_size: 24", "") + NET.split("\n", 4)[0]
    standing = offline.stand_in(
        parse(text.replace("batch_size: 32", "batch_size: 3 backend: LMDB"), NetParameter()), folder
    )
    assert [tuple(s.dim) for s in standing.param.layer[0].input_param.shape] == [(3, 3, 20, 24), (3,)]
    assert standing.notes == []


@pytest.mark.parametrize(
    "given, problem",
    [
        ("data=1,x", "--shape: must be NAME=N,C,H,W, got 'data=1,x'"),
        ("data=1,0", "sizes must be at least 1, got 'data=1,0'"),
        ("dato=1,2", "no input 'dato'; did you mean 'data'?; inputs: data, label"),
    ],
)
def test_bad_shapes(given, problem):
    net = parse(DATA, NetParameter())
    with pytest.raises(offline.ConfigError) as caught:
        offline.stand_in(net, shapes=offline.parse_shapes([given], net))
    assert problem in str(caught.value)


def test_a_shape_that_nobody_knows_must_be_given():
    net = parse(DATA.replace("crop_size: 24", ""), NetParameter())
    with pytest.raises(offline.ConfigError, match="give --shape data=32,C,H,W"):
        offline.stand_in(net)


PUBLISHED = [  # (file, parameters, 10^6 multiply-adds an image) as the papers and Netscope have them
    ("corpus/build/BXuan694__Caffe/models/vggnet/VGG_ILSVRC_16_layers_deploy.prototxt", 138_357_544, 15_470),
    ("corpus/build/BXuan694__Caffe/models/vggnet/VGG_ILSVRC_19_layers_deploy.prototxt", 143_667_240, 19_632),
    ("corpus/build/eric612__MobileNet-YOLO/models/mobilenetv2_voc/MobileNetV2.prototxt", 3_539_036, 301),
    ("bench/nets/caffenet_train.prototxt", 60_965_224, 724),
    ("bench/nets/googlenet_train.prototxt", 13_378_280, 1_591),
    ("bench/nets/resnet50_train.prototxt", 25_636_765, 3_858),
]


@pytest.mark.parametrize("path, parameters, mega", PUBLISHED)
def test_published_numbers(shared, path, parameters, mega):
    made = of_file(shared / path)
    assert made.totals["parameters"] == parameters
    assert made.totals["multiply_adds"] / made.batch / 1e6 == pytest.approx(mega, abs=0.5)


def test_a_recurrent_layer():
    text = """
        layer { name: "x" type: "Input" top: "x" top: "c"
                input_param { shape { dim: 7 dim: 2 dim: 5 } shape { dim: 7 dim: 2 } } }
        layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" top: "y" recurrent_param { num_output: 3 } }"""
    assert summary(text).rows[1].multiply_adds == 7 * 2 * (4 * 3 * 5 + 4 * 3 * 3)


def of_file(path, phase="TEST"):
    net = offline.read_selected(str(path), getattr(offline, phase))
    standing = offline.stand_in(net)
    return summarize(offline.graph_of(standing.param), phase, standing.types)
