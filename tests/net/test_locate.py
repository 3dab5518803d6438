"""Errors say where in the prototxt what they are about stands."""

from __future__ import annotations

from pathlib import Path

import pytest

import pycaffe_lite as caffe
from pycaffe_lite import Net
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.locate import locating
from pycaffe_lite.proto import NetParameter, text

SOURCE = """
name: "small"
layer { name: "in" type: "Input" top: "data" top: "label" include { phase: TRAIN }
        input_param { shape { dim: 4 dim: 1 dim: 6 dim: 6 } shape { dim: 4 } } }
layer { name: "in" type: "Input" top: "data" top: "label" include { phase: TEST }
        input_param { shape { dim: 2 dim: 1 dim: 6 dim: 6 } shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "extra" type: "Sigmoid" bottom: "ip" top: "extra" include { min_level: 1 } }
layer { name: "more" type: "TanH" bottom: "ip" top: "more" include { stage: "a" stage: "b" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "net.prototxt"
    file.write_text(SOURCE)
    return str(file)


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ('"Sigmoid"', '"Sigmod"', r":13:23: layer 'extra': unknown type 'Sigmod'; did you mean 'Sigmoid'"),
        ('"ip" top: "extra"', '"ipp" top: "extra"', r":13:39: layer 'extra' \(Sigmoid\): unknown bottom blob 'ipp'"),
        ("dim: 2 } }", "dim: -2 } }", r":5:1: layer 'in' \(Input\): blob 'label': shape \(-2,\) has a negative size"),
        (
            "kernel_size: 3",
            "kernel_size: 9",
            r":8:43: layer 'conv' \(Convolution\): convolution_param.kernel_size: kernel of 9 is larger",
        ),
        ("num_output: 3", "num_output: 0", r":8:29: layer 'conv' \(Convolution\): convolution_param.num_output"),
        (
            '"xavier" } } }\nlayer { name: "relu"',
            '"xaver" } } }\nlayer { name: "relu"',
            r":7:1: layer 'conv' .*'xaver'",
        ),
        ("loss_weight: 2", "loss_weight: [1, 2]", r":15:87: layer 'loss' \(SoftmaxWithLoss\): loss_weight: give it"),
        ("{ shape { dim: 2", "{ shape {} shape {} shape { dim: 2", r":6:23: layer 'in' \(Input\): input_param.shape"),
    ],
)
def test_errors_name_file_line_and_column(path, old, new, problem):
    assert old in SOURCE
    Path(path).write_text(SOURCE.replace(old, new))
    with pytest.raises(ConfigError, match="net.prototxt" + problem) as caught:
        Net(path, caffe.TEST, level=1)
    assert str(caught.value).count(path) == 1


def test_of_two_layers_with_one_name_the_right_one_is_named(path):
    Path(path).write_text(SOURCE.replace("} shape { dim: 4 } }", "} shape { dim: 4 } shape {} }"))
    with pytest.raises(ConfigError, match=r"net.prototxt:4:23: layer 'in' \(Input\): input_param.shape"):
        Net(path, caffe.TRAIN)
    Net(path, caffe.TEST)


INPUT = 'input: "x" input_dim: [1, 1, 5, 5]\n'


@pytest.mark.parametrize(
    "source, place, problem",
    [
        (INPUT + 'layers { name: "a" type: RELU bottom: "dat" top: "a" }', ":2:31:", "unknown bottom blob 'dat'"),
        (
            INPUT + "layers {\n layer { name: 'a' type: 'pool' kernelsize: 9 }\n bottom: 'x' top: 'a' }",
            ":3:2:",
            "kernel 9",
        ),
        (
            INPUT + "\r\n\r\nlayer < name: 'a' type: 'ReLU' bottom: 'x' 'y' top: 'a' >",
            ":4:32:",
            "unknown bottom blob 'xy'",
        ),
    ],
)
def test_places_in_nets_of_every_age_and_style(path, source, place, problem):
    Path(path).write_bytes(source.encode())
    with pytest.raises(ConfigError, match=f"net.prototxt{place} layer 'a' .*{problem}"):
        Net(path)


def test_errors_in_a_binary_net_name_the_file(tmp_path, path):
    param = text.read(path, NetParameter)
    param.layer[2].type = "Convolutoin"
    (tmp_path / "net.binaryproto").write_bytes(param.SerializeToString())
    with pytest.raises(ConfigError, match=r"net\.binaryproto: layer 'conv': unknown type 'Convolutoin'"):
        Net(tmp_path / "net.binaryproto", caffe.TEST)


@pytest.mark.parametrize("content", [b"", b"layer {", b"\x00\xff\x01", None])
def test_where_there_is_no_place_the_file_is_named(tmp_path, content):
    path = tmp_path / "net.prototxt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught, locating(str(path)):
        raise ConfigError("layer 'a' (ReLU): wrong")
    assert str(caught.value) == f"{path}: layer 'a' (ReLU): wrong"


def test_what_was_no_file_is_not_named():
    with pytest.raises(ConfigError, match=r"^layer 'a': no type given$"):
        Net.from_proto(text.parse('layer { name: "a" }', NetParameter()))
