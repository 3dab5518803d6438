"""Graphs are Caffe's: who gets a gradient, which parameters are one, what is written in place, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycaffe_lite import Net, random
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.splits import insert_splits
from pycaffe_lite.net.wire import Graph, wire
from pycaffe_lite.proto import NetParameter, text

INPUTS = """
layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 5 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
"""


def parsed(layers: str) -> NetParameter:
    return text.parse(INPUTS + layers, NetParameter())


def graph(layers: str) -> Graph:
    return wire(insert_splits(parsed(layers)))


def ip(name: str, bottom: str, top: str = "", more: str = "", outputs: int = 5) -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" {more} '
        f"inner_product_param {{ num_output: {outputs} weight_filler {{ type: 'xavier' }} }} }}"
    )


def layer(kind: str, bottoms: str, tops: str = "", more: str = "", name: str = "") -> str:
    ends = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{name or kind + "_" + bottoms.split()[0]}" type: "{kind}"{ends} {more} }}'


FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"


def needs(net: Graph) -> dict[str, tuple[bool, list[bool]]]:
    """Layer -> whether it runs backward, and for which bottoms."""
    return {node.layer.name: (node.needs_backward, node.propagate_down) for node in net.nodes}


# Which gradients are computed --------------------------------------------------------------------------------


def caffe_decides(net: NetParameter, nodes: list) -> list[tuple[bool, list[bool]]]:
    """Net::Init's decisions, by blob names as there: layers forward, then layers backward, then force_backward."""
    need: dict[str, bool] = {}
    runs, wanted, losses = [], [], []
    for message, node in zip(net.layer, nodes):
        specs = [p.lr_mult for p in message.param] + [1.0] * (len(node.layer.blobs) - len(message.param))
        runs.append(any(need[b] for b in message.bottom) or any(lr != 0 for lr in specs))
        wanted.append(list(message.propagate_down) or [need[b] for b in message.bottom])
        need.update({top: True if runs[-1] else need.get(top, False) for top in message.top})
        weights = list(message.loss_weight) or [1.0 if message.type.endswith("Loss") else 0.0]
        losses.append(dict(zip(message.top, weights)) if message.top else {"(automatic)": weights[0]})
    under_loss, skip = set(), set()
    for i in reversed(range(len(net.layer))):
        tops = losses[i] | dict.fromkeys(set(net.layer[i].top) - set(losses[i]), 0)
        contributes = any(weight or top in under_loss for top, weight in tops.items())
        if not contributes or (runs[i] and "(automatic)" not in tops and all(top in skip for top in tops)):
            runs[i], wanted[i] = False, [False] * len(wanted[i])
        if contributes:
            under_loss.update(net.layer[i].bottom)
        skip.update(bottom for bottom, want in zip(net.layer[i].bottom, wanted[i]) if not want)
    if net.force_backward:
        for i, node in enumerate(nodes):
            runs[i] = True
            wanted[i] = [w or j not in node.layer.no_gradient_to for j, w in enumerate(wanted[i])]
    return list(zip(runs, wanted))


@st.composite
def nets(draw) -> str:
    """Nets of layers that take any blob so far, with random rates, propagate_down and losses."""
    blobs, lines = ["x", "t"], []
    if draw(st.booleans()):
        lines.append("force_backward: true ")
    for number in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["ip", "ip", "Sigmoid", "ReLU", "loss", "SoftmaxWithLoss", "Silence", "Accuracy"]))
        bottom, top, more = draw(st.sampled_from(blobs)), f"b{number}", ""
        count = 2 if kind in ("loss", "SoftmaxWithLoss", "Accuracy") else 1
        if draw(st.integers(0, 3)) == 0:
            more += "".join(f" propagate_down: {draw(st.sampled_from(['true', 'false']))}" for _ in range(count))
        if kind == "ip":
            more += "".join(
                f" param {{ lr_mult: {draw(st.sampled_from([0, 1]))} }}" for _ in range(draw(st.integers(0, 2)))
            )
            more += " loss_weight: 0.5" if draw(st.integers(0, 4)) == 0 else ""
            lines.append(ip(f"l{number}", bottom, top, more))
            blobs.append(top)
        elif kind in ("Sigmoid", "ReLU"):
            lines.append(layer(kind, bottom, top, more, f"l{number}"))
            blobs.append(top)
        elif kind == "loss":
            automatic = draw(st.booleans())
            other = draw(st.sampled_from(blobs))
            lines.append(layer("EuclideanLoss", f"{bottom} {other}", "" if automatic else top, more, f"l{number}"))
        elif kind == "Silence":
            lines.append(layer(kind, bottom, "", more, f"l{number}"))
        else:
            lines.append(layer(kind, f"{bottom} label", top, more, f"l{number}"))
    return "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(nets())
def test_gradients_are_decided_as_caffe_decides_them(source):
    param = insert_splits(parsed(source))
    nodes = wire(param).nodes
    for node, decided in zip(nodes, caffe_decides(param, nodes), strict=True):
        if param.force_backward and not node.layer.differentiable:
            continue  # Caffe aborts there ("Not implemented yet"); we leave such layers out
        assert (node.needs_backward, node.propagate_down) == decided, node.layer.name


def loss(bottom: str) -> str:
    return layer("EuclideanLoss", f"{bottom} t", "loss", name="loss")


DECISIONS = {
    "a chain": (ip("a", "x") + ip("b", "a") + loss("b"), {"a": (True, [False]), "b": (True, [True])}),
    "frozen below": (
        ip("a", "x", more=FROZEN) + ip("b", "a") + loss("b"),
        {"a": (False, [False]), "b": (True, [False])},
    ),
    "frozen above": (
        ip("a", "x") + ip("b", "a", more=FROZEN) + loss("b"),
        {"a": (True, [False]), "b": (True, [True])},
    ),
    "propagate_down false cuts what is below": (
        ip("a", "x") + layer("Sigmoid", "a", "s") + ip("b", "s", more="propagate_down: false") + loss("b"),
        {"a": (False, [False]), "Sigmoid_a": (False, [False]), "b": (True, [False])},
    ),
    "propagate_down true reaches the data": (
        ip("a", "x", more="propagate_down: true") + loss("a"),
        {"a": (True, [True])},
    ),
    "no loss, no gradient": (ip("a", "x") + ip("b", "a"), {"a": (False, [False]), "b": (False, [False])}),
    "a side branch without loss": (
        ip("a", "x") + ip("side", "a") + loss("a"),
        {"a": (True, [False]), "side": (False, [False]), "a_a_0_split": (True, [True])},
    ),
    "loss_weight 0 takes a loss away": (
        ip("a", "x") + layer("EuclideanLoss", "a t", "loss", "loss_weight: 0", "loss"),
        {"a": (False, [False]), "loss": (False, [False, False])},
    ),
    "loss_weight makes any top a loss": (ip("a", "x", more="loss_weight: 2"), {"a": (True, [False])}),
    "force_backward": (
        "force_backward: true " + ip("a", "x", more=FROZEN) + layer("SoftmaxWithLoss", "a label", "loss", name="loss"),
        {"a": (True, [True]), "loss": (True, [True, False])},
    ),
}


@pytest.mark.parametrize("source, wanted", DECISIONS.values(), ids=DECISIONS)
def test_which_layers_run_backward(source, wanted):
    found = needs(graph(source))
    assert {name: found[name] for name in wanted} == wanted


def test_a_frozen_parameter_gets_no_gradient_and_the_other_one_does():
    net = Net.from_proto(in_phase(ip("a", "x", more="param { lr_mult: 0 } param { lr_mult: 2 }") + loss("a")))
    net.blobs["x"].data[...] = 1
    net.run_forward()
    net.run_backward()
    weight, bias = net.params["a"]
    assert not weight.diff.any() and bias.diff.any()


@pytest.mark.parametrize(
    "source, bottom",
    [(layer("Accuracy", "a label", "acc", "loss_weight: 1"), "0 .'a'."), (layer("SoftmaxWithLoss", "t a"), "1 .'a'.")],
)
def test_a_gradient_that_does_not_exist_is_refused_when_it_is_asked_for(source, bottom):
    outputs = 1 if "Softmax" in source else 5
    net = Net.from_proto(in_phase(ip("a", "x", outputs=outputs) + source))
    net.run_forward()
    with pytest.raises(
        ConfigError, match=f"cannot back-propagate to bottom {bottom}; give the layer propagate_down: false"
    ):
        net.run_backward()


def test_propagate_down_false_lets_such_a_loss_be():
    net = Net.from_proto(
        in_phase(ip("a", "x") + layer("Accuracy", "a label", "acc", "loss_weight: 1 propagate_down: [0, 0]"))
    )
    net.run_forward()
    net.run_backward()
    assert not net.params["a"][0].diff.any()


# Shared parameters ---------------------------------------------------------------------------------------------


def shared(first: str, second: str, outputs: int = 5) -> Graph:
    return graph(
        ip("a", "x", more=f'param {{ name: "w" {first} }}')
        + ip("b", "a", more=f'param {{ name: "w" {second} }}', outputs=outputs)
    )


def test_shared_parameters_are_one_memory_and_the_first_layer_owns_it():
    net = shared("", "")
    a, b = (next(n.layer for n in net.nodes if n.layer.name == name) for name in "ab")
    assert b.blobs[0].data_memory is a.blobs[0].data_memory
    assert b.blobs[0].diff_memory is a.blobs[0].diff_memory
    assert b.blobs[1].data_memory is not a.blobs[1].data_memory
    assert [(e.layer.name, e.index, e.name) for e in net.learnable] == [("a", 0, "w"), ("a", 1, ""), ("b", 1, "")]


@pytest.mark.parametrize(
    "first, second, lr, decay",
    [
        ("", "", 1, 1),
        ("lr_mult: 3 decay_mult: 0", "", 3, 0),
        ("", "lr_mult: 3 decay_mult: 0", 3, 0),
        ("lr_mult: 2", "lr_mult: 2 decay_mult: 5", 2, 5),
    ],
)
def test_multipliers_of_a_shared_parameter_come_from_whoever_gives_them(first, second, lr, decay):
    owner = shared(first, second).learnable[0]
    assert (owner.lr_mult, owner.decay_mult) == (lr, decay)


@pytest.mark.parametrize("what", ["lr_mult", "decay_mult"])
def test_multipliers_of_a_shared_parameter_must_not_conflict(what):
    problem = (
        rf"layer 'b' \(InnerProduct\): param 'w': {what} is 0\.5 here and 2\.0 in layer 'a'; a shared parameter has one"
    )
    with pytest.raises(ConfigError, match=problem):
        shared(f"{what}: 2", f"{what}: 0.5")


def test_strict_sharing_needs_equal_shapes():
    problem = r"param 'w': shared with layer 'a', so it must have the same shape .*here \(3, 5\), there \(5, 5\)"
    with pytest.raises(ConfigError, match=problem):
        shared("", "", outputs=3)


def test_permissive_sharing_needs_equal_counts():
    body = 'inner_product_param { num_output: 1 axis: 0 bias_term: false } param { name: "w" share_mode: PERMISSIVE }'
    one = layer("InnerProduct", "x", "a", body.replace("num_output: 1", "num_output: 1"), "a")  # weight (1, 20)
    same = layer("InnerProduct", "label", "b", body.replace("num_output: 1", "num_output: 5"), "b")  # weight (5, 4)
    other = same.replace("num_output: 5", "num_output: 4")
    nodes = graph(one + same).nodes
    assert [n.layer.blobs[0].shape for n in nodes[-2:]] == [(1, 20), (5, 4)]
    assert nodes[-1].layer.blobs[0].data_memory is nodes[-2].layer.blobs[0].data_memory
    with pytest.raises(ConfigError, match=r"the same count; here \(4, 4\), there \(1, 20\)"):
        graph(one + other)
    with pytest.raises(ConfigError, match="share_mode: PERMISSIVE and the same count"):
        graph(one + same.replace("share_mode: PERMISSIVE", ""))


# In place ------------------------------------------------------------------------------------------------------


def in_phase(source: str, phase: int = 0) -> NetParameter:
    param = parsed(source)
    param.state.phase = phase
    return param


def results(source: str, **options) -> list[np.ndarray]:
    """Outputs, input gradients and parameter gradients of a net with all of them."""
    random.set_random_seed(2)
    net = Net.from_proto(in_phase("force_backward: true " + source), dtype=np.float64, **options)
    rng = np.random.default_rng(1)
    for name in ("x", "t"):
        net.blobs[name].data[...] = rng.standard_normal((4, 5))
    net.run_forward()
    net.run_backward()
    found = [net.blobs[name].data for name in net.outputs] + [net.blobs["x"].diff]
    return [a.copy() for a in found + [b.diff for blobs in net.params.values() for b in blobs]]


IN_PLACE = {  # layers behind the inner product `a`, and the blob that the loss reads
    "relu": (layer("ReLU", "a", "a"), "a"),
    "sigmoid": (layer("Sigmoid", "a", "a"), "a"),
    "two": (layer("Sigmoid", "a", "a") + layer("ReLU", "a", "a", name="again"), "a"),
    "behind one that needs its top": (
        layer("Sigmoid", "a", "b") + layer("ReLU", "b", "b") + ip("c", "b", "d"),
        "d",
    ),
    "behind one that only force_backward lets need its top": (
        layer("Sigmoid", "x", "b") + layer("ReLU", "b", "b"),
        "b",
    ),
    "dropout": (layer("ReLU", "a", "a") + layer("Dropout", "a", "a", name="drop"), "a"),
    "behind a split": (layer("Split", "a", "s1 s2") + layer("ReLU", "s1", "s1") + layer("Silence", "s2"), "s1"),
}


@pytest.mark.parametrize("source, last", IN_PLACE.values(), ids=IN_PLACE)
def test_in_place_layers_give_the_same_with_and_without_aliasing(source, last):
    source = ip("a", "x") + source + loss(last)
    aliased, plain = results(source), results(source, alias_in_place=False)
    for a, b in zip(aliased, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def test_aliasing_saves_the_memory_of_the_top():
    source = ip("a", "x") + layer("ReLU", "a", "a") + loss("a")
    nodes = graph(source).nodes
    relu = next(n for n in nodes if n.layer.type == "ReLU")
    assert relu.top[0] is relu.bottom[0]


def test_a_layer_that_cannot_write_in_place_gets_a_top_of_its_own():
    source = layer("Softmax", "x", "x") + loss("x")
    softmax = next(n for n in graph(source).nodes if n.layer.type == "Softmax")
    assert (softmax.top[0] is softmax.bottom[0]) == softmax.layer.in_place


@pytest.mark.parametrize("share_memory", [False, True])
@pytest.mark.parametrize(
    ("above", "value", "slope"),
    [
        (layer("Scale", "x", "x", more="scale_param { filler { value: 3 } }"), 3.0, 3.0),
        (layer("PReLU", "x", "x"), lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25)),
        (layer("BNLL", "x", "x") + layer("ReLU", "x", "x", name="again"), lambda x: np.log1p(np.exp(x)), None),
    ],
    ids=["scale", "prelu", "two layers"],
)
def test_an_input_written_in_place_is_one_blob_as_in_caffe(above, value, slope, share_memory, device):
    """Under its name the caller writes the input, reads what the layers made of it, and finds the input's gradient."""
    source = "force_backward: true " + above + layer("Power", "x", "y", more="loss_weight: 1") + layer("Silence", "t")
    net = Net.from_proto(in_phase(source), dtype=np.float64, share_memory=share_memory, keep=["x"])
    rng = np.random.default_rng(3)
    for rows in (4, 7, 2):
        x = rng.standard_normal((rows, 5))
        net.blobs["x"].reshape(rows, 5)
        wanted = value(x) if callable(value) else value * x
        np.testing.assert_allclose(net.forward(["x"], x=x, t=np.zeros((4, 5)), label=np.zeros(4))["x"], wanted)
        np.testing.assert_allclose(net.blobs["y"].data, wanted)
        net.backward()
        gradient = slope(x) if callable(slope) else slope or 1 / (1 + np.exp(-x))
        np.testing.assert_allclose(net.blobs["x"].diff, np.broadcast_to(gradient, x.shape))


def test_constants_written_in_place_are_the_callers_too():
    source = """layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 3 }
        data_filler { type: "constant" value: 2 } } }"""
    scale = layer("Scale", "d", "d", more="scale_param { axis: 0 filler { value: 3 } }")
    net = Net.from_proto(in_phase(source + scale))
    assert net.blobs["d"].data.tolist() == [2, 2, 2]
    net.run_forward()
    assert net.blobs["d"].data.tolist() == [6, 6, 6]
    net.blobs["d"].data[...] = [1, 2, 3]
    net.run_forward()
    assert net.blobs["d"].data.tolist() == [3, 6, 9]


# Names -----------------------------------------------------------------------------------------------------------


def test_outputs_are_what_nobody_reads_in_alphabetical_order_as_in_caffe():
    net = graph(ip("z", "x") + ip("b", "x") + ip("M", "t") + layer("Silence", "label"))
    assert net.outputs == ["M", "b", "z"]
    assert net.inputs == ["x", "t", "label"]


def test_a_loss_need_not_name_its_top_and_then_is_no_output():
    net = graph(ip("a", "x") + layer("EuclideanLoss", "a t") + layer("Silence", "label"))
    loss = net.nodes[-2]
    assert loss.top_names == ["(automatic)"] and loss.top[0].shape == () and loss.loss_weights == [1.0]
    assert net.outputs == [] and "(automatic)" not in net.blobs
    assert needs(net)["a"][0]


@pytest.mark.parametrize(
    "source, problem",
    [
        (ip("a", "dta"), r"layer 'a' \(InnerProduct\): unknown bottom blob 'dta' \(bottom index 0\)"),
        (ip("a", "lable"), "unknown bottom blob 'lable' .*; did you mean 'label'?"),
        (ip("a", "b") + ip("b", "x"), "unknown bottom blob 'b' .*; layer 'b', which makes it, comes later"),
        (ip("a", "a"), "unknown bottom blob 'a'"),
        (ip("a", "x") + ip("b", "x", "a"), r"layer 'b' \(InnerProduct\): top 'a' is already the top of layer 'a'"),
        (ip("a", "x", "t"), r"layer 'a' \(InnerProduct\): top 't' is already the top of layer 'x'"),
        (layer("Split", "x", "a a"), r"layer 'Split_x' \(Split\): top 'a' is already the top of layer 'Split_x'"),
        (ip("a", "x", more="propagate_down: [1, 1]"), "propagate_down: .* 0 or 1 times, once for each bottom, got 2"),
        (ip("a", "x", more="loss_weight: [1, 1]"), "loss_weight: give it 0 or 1 times, once for each top, got 2"),
        (ip("a", "x", more="param {} param {} param {}"), "param: given 3 times, but the layer has 2 parameter blob"),
        (layer("Convolutoin", "x"), "layer 'Convolutoin_x': unknown type 'Convolutoin'; did you mean 'Convolution'"),
        ('layer { name: "a" bottom: "x" top: "a" }', "layer 'a': no type given"),
        (layer("ReLU", "x t", "a"), r"layer 'ReLU_x' \(ReLU\): takes exactly 1 bottom blob\(s\), got 2: x, t"),
        (layer("EuclideanLoss", "x t", "a b"), r"takes exactly 1 top blob\(s\), got 2: a, b"),
    ],
)  # fmt: skip
def test_wrong_nets_are_refused(source, problem):
    with pytest.raises(ConfigError, match=problem):
        graph(source)
