"""`caffe-lite diff` of nets and of weights."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.cli import main
from pycaffe_lite.formats import blobproto
from pycaffe_lite.proto import NetParameter

NET = """name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""

CONV, RELU = "layer 'conv' (Convolution): ", "layer 'relu' (ReLU): "


def diff(capsys, *words):
    status = main(["diff", *map(str, words)])
    return status, capsys.readouterr().out.splitlines()


@pytest.fixture
def nets(tmp_path):
    def write(change=lambda text: text):
        for name, text in (("a", NET), ("b", change(NET))):
            (tmp_path / f"{name}.prototxt").write_text(text)
        return tmp_path / "a.prototxt", tmp_path / "b.prototxt"

    return write


@pytest.mark.parametrize(
    "old, new",
    [
        ("num_output: 2", "num_output: 2 bias_term: true stride: 1 pad: 0 dilation: 1 group: 1"),
        ("param { lr_mult: 1 }", "param { }"),
        ('layer { name: "relu" type: "ReLU"', 'layer { type: "ReLU" name: "relu" relu_param { negative_slope: 0 }'),
    ],
)
def test_what_means_the_same_is_the_same(nets, capsys, old, new):
    assert diff(capsys, *nets(lambda text: text.replace(old, new))) == (0, ["the nets are the same: 3 layers"])


@pytest.mark.parametrize(
    "old, new, line",
    [
        ("kernel_size: 3", "kernel_size: [3, 5]", CONV + "convolution_param.kernel_size: 3 -> 3, 5"),
        ("num_output: 2", "num_output: 4", CONV + "convolution_param.num_output: 2 -> 4"),
        ("lr_mult: 2", "lr_mult: 0", CONV + "param[1].lr_mult: 2 -> 0"),
        ("param { lr_mult: 2 }", "", CONV + "param[1]: { lr_mult: 2 } -> not there"),
        ('type: "ReLU"', 'type: "TanH"', RELU + 'type: "ReLU" -> "TanH"'),
        ('name: "n"', "", 'name: "n" -> ""'),
        ('name: "relu"', 'name: "relu" include { phase: TEST }', RELU + "include: not there -> { phase: TEST }"),
    ],
)  # fmt: skip
def test_a_field_that_differs(nets, capsys, old, new, line):
    assert diff(capsys, *nets(lambda text: text.replace(old, new))) == (1, [line, "1 difference"])


def test_layers_that_one_net_has_alone_and_their_order(nets, capsys):
    a, b = nets(lambda text: text.replace('name: "relu"', 'name: "r"'))
    assert diff(capsys, a, b)[1][:2] == [f"layer 'relu' (ReLU): only in {a}", f"layer 'r' (ReLU): only in {b}"]
    lines = NET.splitlines()
    a, b = nets(lambda text: "\n".join([*lines[:2], lines[4], *lines[2:4]]))
    assert diff(capsys, a, b) == (1, ["order of layers, first difference: conv -> relu", "1 difference"])


def test_two_layers_of_one_name_are_told_apart(nets, capsys):
    text = " ".join(f'layer {{ name: "d" type: "Data" include {{ phase: {phase} }} }}' for phase in ("TRAIN", "TEST"))
    a, b = nets()
    a.write_text(text)
    b.write_text(text.replace("TEST }", "TEST level: 1 }").replace("level", "min_level"))
    assert diff(capsys, a, b)[1][0] == "layer 'd' (Data) number 2: include.min_level: 0 -> 1"


def test_what_cannot_be_compared(nets, capsys):
    a, b = nets()
    assert main(["diff", str(a), str(b) + "x"]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.fixture
def weights(tmp_path):
    def write(name, **layers):
        net = NetParameter()
        for layer, arrays in layers.items():
            net.layer.add(name=layer, type="InnerProduct", blobs=[blobproto.from_array(a) for a in arrays])
        path = tmp_path / name
        path.write_bytes(net.SerializeToString())
        return path

    return write


def test_weights(weights, capsys):
    w = np.array([[1, -4], [2, 0]], np.float32)
    a = weights("a.caffemodel", ip=[w, w[0]], gone=[w])
    b = weights("b.caffemodel", ip=[w + np.float32(0.5), w[0]], new=[w[:1]])
    status, lines = diff(capsys, a, b)
    assert status == 1
    assert [line.split() for line in lines[1:]] == [
        ["ip", "0", "2x2", "0.5", "0.125"],
        ["ip", "1", "2", "0", "0", "identical"],
        ["gone", "0", "2x2", "->", "not", "there", "only", "in", "one"],
        ["new", "0", "not", "there", "->", "1x2", "only", "in", "one"],
        "4 parameters: 1 the same, 3 different".split(),  # noqa: SIM905
    ]
    assert diff(capsys, a, a)[0] == 0
    c = weights("c.caffemodel", ip=[w + np.float32(0.5), w[0]], gone=[w])
    assert diff(capsys, a, c)[0] == 1
    assert diff(capsys, a, c, "--tolerance", "0.12")[0] == 1
    assert diff(capsys, a, c, "--tolerance", "0.13")[0] == 0
    nan = weights("nan.caffemodel", ip=[w * np.nan, w[0]], gone=[w])
    assert diff(capsys, nan, nan)[0] == 0
    assert diff(capsys, a, nan, "--tolerance", "1")[0] == 1


def test_weights_of_another_shape_and_format(weights, tmp_path, capsys):
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    a, b = weights("a.caffemodel", ip=[w]), weights("b.caffemodel", ip=[w.T])
    status, lines = diff(capsys, a, b)
    assert status == 1 and lines[1].split()[2:] == ["2x3", "->", "3x2", "other", "shape"]
    np.savez(tmp_path / "w.npz", **{"ip/0": w})
    assert diff(capsys, a, tmp_path / "w.npz")[0] == 0


def test_the_nets_of_two_caffemodels(weights, capsys):
    w = np.ones((2, 3), np.float32)
    a, b = weights("a.caffemodel", ip=[w]), weights("b.caffemodel", ip=[2 * w])
    assert diff(capsys, a, b, "--net") == (0, ["the nets are the same: 1 layers"])


def test_real_weights_of_two_ages(shared, capsys):
    folder = shared / "models" / "lenet_everpeace"
    status, lines = diff(capsys, folder / "lenet_iter_5000.caffemodel", folder / "lenet_iter_10000.caffemodel")
    assert status == 1 and len(lines) == 10 and lines[-1] == "8 parameters: 0 the same, 8 different"
