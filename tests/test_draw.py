"""Pictures of nets: their text, what stands in them, and what happens where Graphviz or pydot is missing."""

from __future__ import annotations

import shutil
import sys

import pytest

from pycaffe_lite import draw
from pycaffe_lite.errors import CaffeError, ConfigError
from pycaffe_lite.proto import LayerParameter, NetParameter, caffe_pb2, text, upgrade

NET = """
name: "a \\"net\\""
layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "x" batch_size: 64 } include { phase: TRAIN } }
layer { name: "c|1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 0 }
        convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "r" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 10 }
        exclude { phase: TEST } }
layer { name: "s" type: "Softmax" bottom: "conv1" top: "s" include { phase: TEST stage: "x" } include { stage: "y" } }
"""  # noqa: E501
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")


@pytest.fixture
def net():
    return text.parse(NET, NetParameter())


def layer(body):
    return text.parse(f'name: "l" {body}', LayerParameter())


def test_text_for_graphviz(net):
    written = draw.dot_text(draw.make_graph(net, "LR", phase=caffe_pb2.TRAIN))
    assert written.splitlines() == [
        r'digraph "a \"net\"" {',
        "  rankdir=LR;",
        r'  "d_Data" [label="d\n(Data)", shape="record", fillcolor="#6495ED", style="filled"];',
        '  "data_blob" [label="data", shape="octagon", fillcolor="#E0E0E0", style="filled"];',
        '  "label_blob" [label="label", shape="octagon", fillcolor="#E0E0E0", style="filled"];',
        r'  "c|1_Convolution" [label="c\|1\n(Convolution)\nkernel size: 5\nstride: 1\npad: 0", '
        'shape="record", fillcolor="#FF5050", style="filled"];',
        '  "conv1_blob" [label="conv1", shape="octagon", fillcolor="#E0E0E0", style="filled"];',
        r'  "r_ReLU" [label="r\n(ReLU)", shape="record", fillcolor="#90EE90", style="filled"];',
        r'  "ip_InnerProduct" [label="ip\n(InnerProduct)", shape="record", fillcolor="#CC33FF", style="filled"];',
        '  "ip_blob" [label="ip", shape="octagon", fillcolor="#E0E0E0", style="filled"];',
        r'  "s_Softmax" [label="s\n(Softmax)", shape="record", fillcolor="#6495ED", style="filled"];',
        '  "s_blob" [label="s", shape="octagon", fillcolor="#E0E0E0", style="filled"];',
        '  "d_Data" -> "data_blob" [label="Batch 64"];',
        '  "d_Data" -> "label_blob" [label="Batch 64"];',
        '  "data_blob" -> "c|1_Convolution" [label=""];',
        '  "c|1_Convolution" -> "conv1_blob" [label=20];',
        '  "conv1_blob" -> "r_ReLU" [label=""];',
        '  "r_ReLU" -> "conv1_blob" [label=""];',
        '  "conv1_blob" -> "ip_InnerProduct" [label=""];',
        '  "ip_InnerProduct" -> "ip_blob" [label=10];',
        '  "conv1_blob" -> "s_Softmax" [label=""];',
        '  "s_Softmax" -> "s_blob" [label=""];',
        "}",
    ]


def test_phases(net):
    boxes = {phase: set(draw.make_graph(net, phase=phase).nodes) for phase in (None, 0, 1)}
    assert boxes[None] - boxes[caffe_pb2.TRAIN] == set()
    assert boxes[None] - boxes[caffe_pb2.TEST] == {"d_Data", "label_blob", "ip_InnerProduct", "ip_blob"}


def test_labels_of_layers():
    pool = layer('type: "Pooling" pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride: 2 }')
    assert draw.get_layer_label(pool, "TB") == '"l (Pooling AVE) kernel size: 3x2 stride: 2 pad: 0"'
    pool = layer('type: "Pooling" pooling_param { global_pooling: true }')
    assert draw.get_layer_label(pool, "LR") == '"l\\n(Pooling MAX)\\nglobal"'
    conv = layer('type: "Convolution" convolution_param { kernel_size: 3 kernel_size: 5 pad: 1 pad: 1 }')
    assert draw.get_layer_label(conv, "BT") == '"l (Convolution) kernel size: 3x5 stride: 1 pad: 1"'
    conv = layer('type: "Deconvolution" param { lr_mult: 0.5 }')
    assert draw.get_layer_label(conv, "TB", display_lrm=True).endswith('pad: 0 lr mult: 0.5, 1.0"')
    assert draw.get_layer_label(layer('type: "ReLU"'), "TB", display_lrm=True) == '"l (ReLU)"'


def test_pycaffes_other_helpers():
    assert draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
    assert draw.get_edge_label(layer('type: "Data" data_param { batch_size: 3 }')) == '"Batch 3"'
    assert draw.get_edge_label(layer('type: "InnerProduct" inner_product_param { num_output: 7 }')) == "7"
    assert draw.get_edge_label(layer('type: "ReLU"')) == '""'
    assert draw.choose_color_by_layertype("Pooling") == "#FF9900"
    assert draw.choose_color_by_layertype("Softmax") == "#6495ED"
    assert draw.get_layer_lr_mult(layer('type: "Convolution" param { lr_mult: 1 } param { lr_mult: 2 }')) == (1, 2)
    with pytest.raises(ValueError, match="ReLU has no multipliers"):
        draw.get_layer_lr_mult(layer('type: "ReLU"'))


def test_old_nets_are_drawn_too():
    old = text.parse('layers { name: "p" type: POOLING bottom: "x" top: "y" }', NetParameter())
    assert list(draw.make_graph(old).nodes) == ["p_Pooling", "x_blob", "y_blob"]
    assert old.layers, "the net given is left as it was"


def test_pydot_gets_the_same_picture(net):
    graph = draw.get_pydot_graph(net, "TB", label_edges=False, phase=caffe_pb2.TRAIN, display_lrm=True)
    assert graph.get_rankdir() == "TB"
    conv = graph.get_node('"c|1_Convolution"')[0]
    assert "lr mult: 0.0, 1.0" in conv.get_label()
    assert conv.get("fillcolor") == '"#FF5050"'
    ends = [(edge.get_source(), edge.get_destination(), edge.get_label()) for edge in graph.get_edges()]
    assert ('"c|1_Convolution"', '"conv1_blob"', '""') in ends
    assert len(ends) == 10
    if shutil.which("dot"):
        assert graph.create(format="plain").startswith(b"graph")


@needs_graphviz
@pytest.mark.parametrize(
    "ending, begins", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("DOT", b"digraph")]
)
def test_files(net, tmp_path, ending, begins):
    path = tmp_path / f"net.{ending}"
    draw.draw_net_to_file(net, path, "BT", display_lrm=True)
    assert path.read_bytes().startswith(begins)
    if ending == "svg":
        assert b">c|1 (Convolution)" in path.read_bytes()


@needs_graphviz
def test_formats_that_graphviz_does_not_know(net, tmp_path):
    (tmp_path / "net.cake").write_text("mine")
    with pytest.raises(ConfigError, match=r"cannot make \.cake of this net: .*cake"):
        draw.draw_net_to_file(net, tmp_path / "net.cake")
    assert (tmp_path / "net.cake").read_text() == "mine"


@needs_graphviz
def test_every_net_that_people_wrote_can_be_read_by_graphviz(shared):
    for path in sorted((shared / "corpus" / "build").rglob("*.prototxt"))[::10]:
        assert draw.draw_net(upgrade.read_net(path), "LR", "plain").startswith(b"graph"), path


def test_without_graphviz_and_pydot(net, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"for \.png files Graphviz's program `dot` must be installed"):
        draw.draw_net(net, "LR")
    draw.draw_net_to_file(net, tmp_path / "net.gv")
    assert (tmp_path / "net.gv").read_text().startswith("digraph")
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ConfigError, match=r"needs pydot: pip install 'caffe-lite\[draw\]'"):
        draw.get_pydot_graph(net, "LR")


def test_wrong_use(net, tmp_path):
    with pytest.raises(ConfigError, match="rankdir: must be one of LR, RL, TB, BT, got 'UP'"):
        draw.draw_net(net, "UP", "dot")
    with pytest.raises(ConfigError, match=r"net: must end in \.dot, \.png"):
        draw.draw_net_to_file(net, tmp_path / "net")
    with pytest.raises(CaffeError, match="cannot be written"):
        draw.draw_net_to_file(net, tmp_path / "no such folder" / "net.dot")
