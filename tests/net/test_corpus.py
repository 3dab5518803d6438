"""Nets that people wrote, against what Caffe 1.0 builds of them; files that nobody should have written."""

from __future__ import annotations

import json
import math
import time

import pytest

from pycaffe_lite.errors import CaffeError, ConfigError, PrototxtError
from pycaffe_lite.net import offline
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse


def built(path):
    """A net as build.json describes it."""
    graph = offline.graph_of(offline.read_selected(str(path), caffe_pb2.TEST))
    return {
        "layers": [[node.layer.name, node.layer.message.type] for node in graph.nodes],
        "blobs": {name: list(blob.shape) for name, blob in graph.blobs.items()},
        "params": {n.layer.name: [list(b.shape) for b in n.layer.blobs] for n in graph.nodes if n.layer.blobs},
        "inputs": graph.inputs,
        "outputs": graph.outputs,
    }


def test_every_net_is_built_as_caffe_builds_it(shared):
    folder = shared / "corpus" / "build"
    wanted = json.loads((shared / "corpus" / "build.json").read_text())
    wrong = {}
    for path, net in wanted.items():
        try:
            found = built(folder / path)
            wrong |= {f"{path}: {key}": (found[key], value) for key, value in net.items() if found[key] != value}
        except CaffeError as error:
            wrong[path] = str(error)
    assert wrong == {}
    assert len(wanted) == 177


def test_the_heaviest_are_built_in_two_seconds(shared):
    """As Net, memory placed and fillers checked: those with most layers, most parameters, most activations."""
    wanted = json.loads((shared / "corpus" / "build.json").read_text())

    def sizes(path):
        net = wanted[path]
        parameters = sum(math.prod(shape) for shapes in net["params"].values() for shape in shapes)
        return len(net["layers"]), parameters, sum(math.prod(shape) for shape in net["blobs"].values())

    for which in range(3):
        path = max(wanted, key=lambda path: sizes(path)[which])
        start = time.perf_counter()
        net = Net(shared / "corpus" / "build" / path)
        assert time.perf_counter() - start < 2, path
        assert len(net.layers) == sizes(path)[0]


def refused(text):
    with pytest.raises(ConfigError) as caught:
        Net.from_proto(parse(text, NetParameter(), "net.prototxt"))
    return str(caught.value)


@pytest.mark.parametrize("depth", [1000, 10_000, 100_000])
def test_nested_messages(depth):
    assert (
        refused("layer { " * depth)
        == "net.prototxt:1:9: unknown field 'layer' in LayerParameter; NetParameter has it: is a '}' missing above?"
    )
    with pytest.raises(PrototxtError, match="expected '}' to close 'foo'"):
        parse("foo { " * depth, NetParameter(), allow_unknown=True)


def test_cycles():
    text = """
        layer { name: "a" type: "ReLU" bottom: "b" top: "a" }
        layer { name: "b" type: "ReLU" bottom: "a" top: "b" }"""
    assert refused(text) == (
        "layer 'a' (ReLU): unknown bottom blob 'b' (bottom index 0); layer 'b', which makes it, comes later"
    )
    assert "unknown bottom blob 'c'" in refused('layer { name: "c" type: "ReLU" bottom: "c" top: "c" }')


INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } } '
IP = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "%s" inner_product_param { num_output: 3 } } '


def test_layers_of_one_name():
    assert refused(INPUT + IP % "a" + IP % "b") == (
        "layer 'ip' (InnerProduct): name: a layer in front has it too, and parameters are stored by the names of "
        "their layers; rename one, or share the parameters: param { name }"
    )
    same = 'layer { name: "same" type: "ReLU" bottom: "x" top: "%s" } '
    assert len(Net.from_proto(parse(INPUT + same % "a" + same % "b", NetParameter())).layers) == 4  # and a Split


@pytest.mark.parametrize("ending", ["caffemodel", "h5", "npz"])
def test_layers_of_one_name_may_share_their_parameters(tmp_path, ending):
    shared = IP.replace("bottom", 'param { name: "w" } param { name: "b" } bottom')
    made = Net.from_proto(parse(INPUT + shared % "a" + shared % "b", NetParameter()))
    made.params["ip"][0].data[...] = [[1, 2], [3, 4], [5, 6]]
    made.save(tmp_path / f"net.{ending}", **({} if ending == "npz" else {"write_diff": True}))
    other = Net.from_proto(parse(INPUT + shared % "a" + shared % "b", NetParameter()))
    other.copy_from(tmp_path / f"net.{ending}")
    other.blobs["x"].data[...] = 1
    assert other.forward()["b"].tolist() == [[3, 7, 11]]


def test_blobs_of_one_name():
    assert "top 'a' is already the top of layer 'ip'" in refused(INPUT + IP % "a" + IP.replace('"ip"', '"ip2"') % "a")
