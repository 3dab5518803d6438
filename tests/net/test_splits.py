"""Split layers, where and as Caffe inserts them."""

from __future__ import annotations

import json

import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.select import select
from pycaffe_lite.net.splits import insert_splits
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse
from pycaffe_lite.proto.upgrade import read_net

DATA = 'layer { name: "data" type: "Input" top: "data" } '


def split(text):
    return insert_splits(parse(text, NetParameter()))


def test_one_reader_needs_no_split():
    text = DATA + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" }'
    assert split(text) == parse(text, NetParameter())


def test_each_reader_gets_a_copy_of_its_own():
    assert split(
        DATA
        + """layer { name: "a" bottom: "data" top: "a" }
             layer { name: "b" bottom: "a" bottom: "data" top: "b" }"""
    ) == parse(
        DATA
        + """layer { name: "data_data_0_split" type: "Split" bottom: "data"
                     top: "data_data_0_split_0" top: "data_data_0_split_1" }
             layer { name: "a" bottom: "data_data_0_split_0" top: "a" }
             layer { name: "b" bottom: "a" bottom: "data_data_0_split_1" top: "b" }""",
        NetParameter(),
    )


def test_a_layer_that_reads_a_blob_twice():
    net = split(DATA + 'layer { name: "a" bottom: "data" bottom: "data" top: "a" }')
    assert list(net.layer[2].bottom) == ["data_data_0_split_0", "data_data_0_split_1"]


def test_the_second_of_two_tops():
    net = split(
        """layer { name: "d" type: "Data" top: "data" top: "label" }
           layer { name: "a" bottom: "data" bottom: "label" top: "a" }
           layer { name: "b" bottom: "a" bottom: "label" top: "b" }"""
    )
    assert [layer.name for layer in net.layer] == ["d", "label_d_1_split", "a", "b"]


def test_in_place_layers_make_a_new_version_of_a_blob():
    """What relu writes is read twice; what data wrote under the same name, once."""
    net = split(
        DATA
        + """layer { name: "relu" bottom: "data" top: "data" }
             layer { name: "a" bottom: "data" top: "a" }
             layer { name: "b" bottom: "data" top: "b" }"""
    )
    assert [layer.name for layer in net.layer] == ["data", "relu", "data_relu_0_split", "a", "b"]
    assert list(net.layer[1].bottom) == list(net.layer[1].top) == ["data"]
    assert list(net.layer[4].bottom) == ["data_relu_0_split_1"]


def test_a_loss_weight_is_the_first_reader():
    net = split(
        DATA
        + """layer { name: "loss" bottom: "data" top: "loss" loss_weight: 2 }
             layer { name: "a" bottom: "loss" top: "a" }"""
    )
    assert net.layer[1] == parse('name: "loss" bottom: "data" top: "loss"', caffe_pb2.LayerParameter())
    assert net.layer[2] == parse(
        """name: "loss_loss_0_split" type: "Split" bottom: "loss" loss_weight: 2 loss_weight: 0
           top: "loss_loss_0_split_0" top: "loss_loss_0_split_1" """,
        caffe_pb2.LayerParameter(),
    )
    assert list(net.layer[3].bottom) == ["loss_loss_0_split_1"]


def test_a_loss_weight_alone_or_of_zero_needs_no_split():
    text = DATA + 'layer { name: "loss" bottom: "data" top: "loss" loss_weight: 2 }'
    assert split(text) == parse(text, NetParameter())
    text = text.replace("2 }", "0 }") + 'layer { name: "a" bottom: "loss" top: "a" }'
    assert split(text) == parse(text, NetParameter())


@pytest.mark.parametrize(
    "bottom, hint",
    [
        ("dta", "; did you mean 'data'?"),
        ("later", "; layer 'z', which makes it, comes later"),
        ("q", ""),
    ],
)
def test_unknown_bottoms(bottom, hint):
    text = DATA + 'layer { name: "x" type: "ReLU" bottom: "data" bottom: "%s" } layer { name: "z" top: "later" }'
    with pytest.raises(ConfigError) as caught:
        split(text % bottom)
    assert str(caught.value) == f"layer 'x' (ReLU): unknown bottom blob {bottom!r} (bottom index 1){hint}"


def test_nets_that_people_wrote(shared):
    """The same layers as Caffe 1.0 builds, of the same types, in the same order."""
    built = json.loads((shared / "corpus" / "build.json").read_text())
    assert len(built) == 177
    for path, expected in built.items():
        net = read_net(shared / "corpus" / "build" / path)
        net.state.phase = caffe_pb2.TEST
        layers = [[layer.name, layer.type] for layer in insert_splits(select(net)).layer]
        assert layers == expected["layers"], path
