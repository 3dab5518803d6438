"""A convolution behind a max pooling: the same gradients from the winners alone, whatever else reads them."""

from __future__ import annotations

import numpy as np
import pytest
from chains import agree, built, conv, in_parts, launched, layer, layers_then_whole, relu, trained
from chains import whole_then_layers as by_layers

from pycaffe_lite.net import fresh, passes

INPUT = (
    'layer { name: "in" type: "Input" top: "x" top: "t" '
    "input_param { shape { dim: 3 dim: 2 dim: 19 dim: 17 } shape { dim: 3 dim: 3 } } } "
)
END = (
    layer("ip", "InnerProduct", "q", "ip", 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }')
    + 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'
)
LEAKY = "relu_param { negative_slope: 0.1 }"
MANY = "num_output: 24 kernel_size: 5 pad: 2"
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"


def pool(bottom, top, inside="pool: MAX kernel_size: 2 stride: 2"):
    return layer(top, "Pooling", bottom, top, f"pooling_param {{ {inside} }}")


def body(first="", second="", outer="", inside=MANY, window="pool: MAX kernel_size: 3 stride: 2"):
    """Two convolutions with poolings, and what is between each and its pooling."""
    first = conv("a", "x", inside=MANY) + first + pool("a", "p", window)
    return INPUT + first + conv("b", "p", inside=inside, outer=outer) + second + pool("b", "q", window) + END


BODIES = {
    "pooled": body(),
    "with ReLU": body(relu("a"), relu("b")),
    "leaky": body(relu("a", inside=LEAKY), relu("b", inside=LEAKY)),
    "frozen weights": body(relu("a"), outer="param { lr_mult: 0 } param { lr_mult: 1 }"),
    "frozen": body(relu("a"), outer=FROZEN),
    "no bias": body(inside=f"bias_term: false {MANY}"),
    "groups": body(relu("a"), inside=f"group: 2 {MANY}"),
    "small windows": body(window="pool: MAX kernel_size: 2 stride: 2 pad: 1"),
}


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_the_same_with_and_without(name, share):
    plain, net = (built(BODIES[name], dtype=np.float32, share_memory=share, without=w) for w in (["winners"], []))
    assert max(map(len, launched(net, "backward"))) > 1
    wanted = trained(plain)
    if share:  # gradients in between are nobody's
        shown = {n for n in wanted[0] if n.split()[0] in net.params and n.split()[1].isdigit()} | {"loss data"}
        agree(trained(net), wanted, 2e-5, shown)
    else:
        agree(trained(net), wanted, 2e-5)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("run", [in_parts, by_layers, layers_then_whole])
def test_any_part_of_a_net_can_be_run(run, share):
    source = BODIES["with ReLU"]
    wanted = trained(built(source, dtype=np.float32, without=["all"]))
    net = built(source, dtype=np.float32, share_memory=share)
    names = {n for n in wanted[0] if n.split()[0] in net.params and n.split()[1].isdigit()}
    agree(trained(net, run), wanted, 2e-5, names)


def test_what_is_joined():
    whole, alone = ["Pooling", "ReLU", "Convolution"], ["Pooling", "Convolution"]
    assert launched(built(BODIES["with ReLU"], dtype=np.float32), "backward").count(whole) == 2
    assert launched(built(BODIES["pooled"], dtype=np.float32), "backward").count(alone) == 2
    for other in (
        built(BODIES["pooled"]),  # float64
        built(BODIES["pooled"].replace("MAX", "AVE"), dtype=np.float32),
        built(BODIES["pooled"], dtype=np.float32, without=["winners"]),
        built(body(window="pool: MAX kernel_size: 3 stride: 1"), dtype=np.float32),  # as many windows as values
    ):
        assert alone not in launched(other, "backward")


def test_a_gradient_that_nobody_reads_is_not_written():
    net = built(BODIES["pooled"], dtype=np.float32, share_memory=True)
    tops = [node.top[0].diff_memory for node in net.graph.nodes if node.layer.type == "Convolution"]
    steps = passes.schedule(net.graph, "backward").steps
    assert not {memory for step in steps for memory in (*step.reads, *step.writes)}.intersection(tops)
    net = built(BODIES["pooled"], dtype=np.float32, share_memory=True, keep=("b",))
    wanted = trained(built(BODIES["pooled"], dtype=np.float32, without=["all"]), iterations=1)
    agree(trained(net, iterations=1), wanted, 2e-5, ["b diff"])


def test_gradients_of_weights_may_be_written_in_place_of_being_added():
    net = built(BODIES["with ReLU"], dtype=np.float32)
    trained(net, iterations=1)
    net.clear_param_diffs()
    net.run_forward()
    net.run_backward()
    found = {name: blobs[0].diff.copy() for name, blobs in net.params.items()}
    for blobs in net.params.values():
        blobs[0].diff[...] = 7
    plan = net.runner.plan("backward", fresh=True)
    heeded = {layer.name for layer, _ in fresh.written(plan.steps)}
    assert {"a", "b"} <= heeded
    plan.program.run()
    for name in heeded:
        np.testing.assert_allclose(net.params[name][0].diff, found[name], rtol=1e-5, atol=1e-6)


def test_on_every_device(device):
    plain, net = (built(BODIES["with ReLU"], dtype=np.float32, without=w) for w in (["all"], []))
    agree(trained(net, iterations=1), trained(plain, iterations=1), 2e-5)
