"""`caffe-lite layers`: every type, its fields from the schema, and what to do about a type that is not there."""

from __future__ import annotations

import json

import cases
import exam
import pytest

from pycaffe_lite import layer_help, layers
from pycaffe_lite.cli import main
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.layer import create
from pycaffe_lite.proto import LayerParameter


def printed(capsys, *words):
    assert main(["layers", *words]) == 0
    return capsys.readouterr().out


def test_every_type_has_its_line(capsys):
    lines = printed(capsys).splitlines()[1:]
    assert [line.split()[0] for line in lines] == layers.known()
    assert all(len(line.split(maxsplit=1)[1]) > 5 for line in lines)
    assert json.loads(printed(capsys, "--json"))["ReLU"] == "y = x where x > 0, else negative_slope * x."


def test_a_type_with_its_fields(capsys):
    text = printed(capsys, "Pooling")
    assert text.startswith("Pooling: the maximum or the mean of each sliding window")
    assert "bottoms: 1; tops: 1 to 2\n" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    assert rows["stride"].split() == ["stride", "uint32", "1", "Step", "between", "two", "windows."]
    assert "MAX | AVE | STOCHASTIC" in rows["pool"]
    assert rows["round_mode"].split()[4] == "CEIL"


def test_blocks_that_layers_share(capsys):
    assert "\nloss_param\n" in printed(capsys, "SoftmaxWithLoss")
    assert "\ntransform_param\n" in printed(capsys, "Data")
    assert "transform_param" not in printed(capsys, "Input")


def test_aliases_and_messages(capsys):
    assert printed(capsys, "DepthwiseConvolution").startswith("Convolution: ")
    text = printed(capsys, "FillerParameter")
    assert "variance_norm  FAN_IN | FAN_OUT | AVERAGE  FAN_IN" in text


@pytest.mark.parametrize(
    "name, hint",
    [
        ("Pool", "; did you mean 'Pooling'?"),
        ("relu", "; did you mean 'ReLU'?"),
        ("PriorBox", "; SSD's Caffe has it"),
        ("Interp", "; DeepLab's Caffe (PSPNet's too) has it"),
        ("Yolov3", "; MobileNet-YOLO's Caffe has it"),
        ("MyOwnThing", "; a type of your own comes with --import FILE, or by importing its file"),
    ],
)
def test_unknown_types_here_and_in_nets(name, hint, capsys):
    assert main(["layers", name]) == 1
    assert capsys.readouterr().err == f"caffe-lite layers: error: unknown layer type {name!r}{hint}\n"
    with pytest.raises(ConfigError) as caught:
        create(LayerParameter(name="l", type=name), 0)
    assert str(caught.value) == f"layer 'l': unknown type {name!r}{hint}"


def test_types_of_forks_are_not_ours():
    from pycaffe_lite.proto import forks

    named = [name for types in forks._LAYERS.values() for name in types.split()]
    assert len(named) == len(set(named))
    assert not set(named) & set(layers.known())


def test_parameters_are_explained_where_there_are_any():
    having = set()
    for case in [case for of_type in cases.CASES.values() for case in of_type]:
        layer = exam.build(case).layer_dict["l"]
        if layer.blobs:
            having.add(layer.type)
    assert having - set(layer_help.PARAMETERS) == set()
    assert set(layer_help.PARAMETERS) & set(layers.known()) - having == set()
