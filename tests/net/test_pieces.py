"""Pieces of Concat and Slice that lie in their whole: nets compute what they compute with copies, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from chains import (
    agree,
    built,
    conv,
    in_parts,
    layer,
    layers_then_whole,
    relu,
    trained,
    visible,
    whole_then_layers,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pycaffe_lite.proto import NetParameter
from pycaffe_lite.proto.text import parse

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 4 dim: 4 } } } '
END = layer("loss", "Reduction", "%s", "loss", "loss_weight: 1 reduction_param { operation: SUMSQ coeff: 0.02 }")


def concat(name, bottoms, axis=1):
    return layer(name, "Concat", bottoms, name, f"concat_param {{ axis: {axis} }}")


def cut(name, bottom, tops, inside=""):
    named = " ".join(f'top: "{top}"' for top in tops.split())
    return f'layer {{ name: "{name}" type: "Slice" bottom: "{bottom}" {named} slice_param {{ axis: 1 {inside} }} }} '


ABC = conv("a", "x") + conv("b", "x") + conv("c", "x")
DENSE = conv("a", "x") + conv("b", "a") + concat("ab", "a b") + conv("c", "ab") + concat("abc", "ab c")


def dense(bottom, name):
    """What DenseNet is made of: BatchNorm, Scale and ReLU, a convolution, and a Concat of all there was before."""
    made = layer(f"{name}_bn", "BatchNorm", bottom, f"{name}_n")
    fill = 'filler { type: "uniform" min: 0.5 max: 1.5 }'
    made += layer(f"{name}_scale", "Scale", f"{name}_n", f"{name}_n", f"scale_param {{ bias_term: true {fill} }}")
    return made + relu(f"{name}_n") + conv(name, f"{name}_n") + concat(f"{name}_all", f"{bottom} {name}")


# Each with how many pieces lie in a whole: values and gradients, where all can be read, and in training that shares.
NETS = {
    "a Concat": (ABC + concat("w", "a b c") + conv("d", "w") + END % "d", 6, 6),
    "of what works in place": (
        conv("a", "x") + relu("a") + conv("b", "x") + relu("b") + concat("w", "a b") + conv("d", "w") + END % "d", 2, 4
    ),
    "with ReLU in place behind it": (ABC + concat("w", "a b") + relu("w") + conv("d", "w") + END % "d", 2, 4),
    "with a Sigmoid behind it": (ABC + concat("w", "a b") + layer("s", "Sigmoid", "w") + END % "w", 2, 4),
    "of what reads its bottom": (
        conv("a", "x") + layer("p", "Power", "a", "p", "power_param { power: 2 }") + conv("b", "x")
        + concat("w", "p b") + relu("w") + conv("d", "w") + END % "d", 2, 4
    ),
    "of the same twice": (conv("a", "x") + concat("w", "a a") + conv("d", "w") + END % "d", 3, 3),
    "two of the same": (
        ABC + concat("v", "a b") + concat("w", "b c") + layer("s", "Eltwise", "v w", "s") + END % "s", 5, 5
    ),
    "of an input": (conv("a", "x") + concat("w", "x a") + conv("d", "w") + END % "d", 2, 2),
    "of views": (
        conv("a", "x") + layer("f", "Flatten", "a", "f") + conv("b", "x") + layer("g", "Flatten", "b", "g")
        + concat("w", "f g") + layer("ip", "InnerProduct", "w", "ip", "inner_product_param { num_output: 3 "
        'weight_filler { type: "xavier" } }') + END % "ip", 4, 4
    ),
    "in a Concat": (DENSE + conv("d", "abc") + END % "d", 8, 8),
    "of dense blocks": (conv("a", "x") + dense("a", "b") + dense("b_all", "c") + END % "c_all", 8, 8),
    "and a shortcut": (
        conv("a", "x") + conv("b", "x") + concat("w", "a b") + conv("c", "w", inside="num_output: 8 kernel_size: 1")
        + layer("s", "Eltwise", "c w", "s") + relu("s") + END % "s", 4, 4
    ),
    "with a loss on a piece": (
        conv("a", "x") + layer("r", "Reduction", "a", "r", "loss_weight: 0.5") + conv("b", "x") + concat("w", "a b")
        + conv("d", "w") + END % "d", 4, 4
    ),
    "that nobody trains below": (
        conv("a", "x", outer="param { lr_mult: 0 } param { lr_mult: 0 }") + conv("b", "x") + concat("w", "a b")
        + conv("d", "w") + END % "d", 3, 3
    ),
    "a Slice": (
        conv("a", "x", inside="num_output: 8 kernel_size: 3 pad: 1") + cut("cut", "a", "b c d", "slice_point: [2, 5]")
        + conv("e", "b") + conv("f", "c") + conv("g", "d") + concat("w", "e f g") + END % "w", 12, 12
    ),
    "with ReLU in place behind a piece": (
        conv("a", "x") + cut("cut", "a", "b c") + relu("b") + layer("s", "Eltwise", "b c", "s") + END % "s", 3, 4
    ),
    "of which one goes nowhere": (
        conv("a", "x") + cut("cut", "a", "b c") + layer("s", "Silence", "c", "").replace('top: "c"', "")
        + conv("d", "b") + END % "d", 3, 3
    ),
    "behind a Concat": (
        ABC + concat("w", "a b c") + cut("cut", "w", "d e") + layer("s", "Eltwise", "d e", "s") + END % "s", 8, 9
    ),
    "put together again": (
        conv("a", "x") + cut("cut", "a", "b c") + concat("w", "c b") + conv("d", "w") + END % "d", 4, 4
    ),
    "of an input in pieces": (cut("cut", "x", "b c") + conv("d", "b") + conv("e", "c") + concat("w", "d e") + END % "w",
        4, 4),
    "too narrow for a cache line": (
        'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 1 dim: 3 dim: 3 dim: 3 } } } '
        + conv("a", "y") + conv("b", "y") + concat("w", "a b") + END % "w", 2, 2
    ),
}  # fmt: skip


def lying_in_wholes(net):
    memories = {m for n in net.graph.nodes for t in n.top for m in (t.data_memory, t.diff_memory)}
    return sum(memory.whole is not None for memory in memories)


@pytest.mark.parametrize("name", NETS)
def test_which_pieces_lie_in_their_whole(name):
    source, readable, shared = NETS[name]
    net = built(INPUT + source, dtype=np.float32)
    assert (lying_in_wholes(net), lying_in_wholes(built(INPUT + source, dtype=np.float32, share_memory=True))) == (
        readable,
        shared,
    )


@pytest.mark.parametrize("name", NETS)
def test_all_that_can_be_read_is_the_same(name):
    for forced in ("", "force_backward: true "):
        plain = built(forced + INPUT + NETS[name][0], dtype=np.float32, without=["all"])
        wanted = trained(plain)
        net = built(forced + INPUT + NETS[name][0], dtype=np.float32)
        agree(trained(net), wanted, rounding(name), visible(plain, wanted))


def rounding(name):
    """How far results may be apart: BatchNorm, Scale and ReLU in one step round differently from each alone."""
    return 1e-6 if "dense" in name else 0


def parameters(net, wanted):
    return {n for n in wanted[0] if n.split()[0] in net.params and n.split()[1].isdigit()} | {"loss data"}


@pytest.mark.parametrize("run", [None, in_parts, whole_then_layers, layers_then_whole])
@pytest.mark.parametrize("name", NETS)
def test_training_that_shares_memory_is_the_same(name, run):
    wanted = trained(built(INPUT + NETS[name][0], dtype=np.float32, without=["all"]))
    net = built(INPUT + NETS[name][0], dtype=np.float32, share_memory=True, keep=["a"])
    agree(trained(net, run), wanted, rounding(name), parameters(net, wanted) | {"a data"} & set(wanted[0]))


@pytest.mark.parametrize("name", NETS)
def test_on_every_device(device, name):
    wanted = trained(built(INPUT + NETS[name][0], dtype=np.float32, without=["all"]))
    for share in (False, True):
        net = built(INPUT + NETS[name][0], dtype=np.float32, share_memory=share)
        agree(trained(net), wanted, 2e-5, parameters(net, wanted) if share else visible(net, wanted))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", ["a Concat", "in a Concat", "a Slice", "behind a Concat", "of views"])
def test_another_shape_and_back(device, name, share):
    if name == "of views":
        shapes = [(1, 4, 4, 4), (2, 4, 4, 4), (1, 4, 4, 4)]
    else:
        shapes = [(1, 4, 6, 4), (2, 4, 4, 2), (1, 4, 4, 4), (1, 4, 2, 4), (2, 4, 4, 4), (1, 4, 8, 8)]
    net = built(INPUT + NETS[name][0], dtype=np.float32, share_memory=share)
    for shape in shapes:
        plain = built(INPUT + NETS[name][0], dtype=np.float32, without=["all"])
        for one in (net, plain):
            one.blobs["x"].reshape(shape)
            one.reshape()
        for mine, theirs in zip(net.graph.learnable, plain.graph.learnable, strict=True):
            theirs.blob.data[...] = mine.blob.data
        wanted = trained(plain, iterations=1)
        agree(trained(net, iterations=1), wanted, 2e-5, parameters(net, wanted) if share else visible(net, wanted))
        assert (lying_in_wholes(net) > 0) == (shape[0] == 1)


def test_a_shape_that_changes_in_the_middle_of_a_run_loses_nothing():
    """Filter says in every forward how many rows there are: the Concat behind it may have to move its pieces."""
    source = (
        'layer { name: "in" type: "Input" top: "x" top: "s" input_param { shape { dim: 4 dim: 16 } shape { dim: 4 } } }'
        + layer("a", "Power", "x", "a", "power_param { scale: 2 }")
        + 'layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" } '
        + layer("b", "Power", "f", "b", "power_param { scale: 3 }")
        + concat("w", "b a", axis=0)
        + layer("d", "Power", "w", "d", "power_param { shift: 1 }")
    )
    for share in (False, True):
        net, x = built(source, "TEST", np.float32, share_memory=share), np.arange(64.0).reshape(4, 16)
        for chosen in ([1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 0, 1], [1, 1, 1, 1]):
            kept = x[np.array(chosen, bool)]
            found = net.forward(x=x, s=np.array(chosen))["d"]
            np.testing.assert_array_equal(found, np.concatenate([3 * kept, 2 * x]) + 1)
            assert lying_in_wholes(net) == 2


def test_a_piece_can_be_written_by_name_and_the_whole_has_it(device):
    net = built(INPUT + NETS["a Concat"][0], "TEST", np.float32)
    net.run_forward()
    net.blobs["b"].data[...] = 7
    net.forward(start="w")
    assert (net.blobs["w"].data[0, 4:8] == 7).all() and (net.blobs["w"].data[0, :4] != 7).all()


def test_a_dense_block_is_one_stretch_of_memory():
    net = built(INPUT + NETS["in a Concat"][0], "TEST", np.float32, forward_only=True, share_memory=True)
    whole = net.graph.nodes[net._layer_names.index("abc")].top[0].data_memory
    tops = [top for node in net.graph.nodes for top in node.top if top.data_memory.root is whole]
    assert {top.name for top in tops} >= {"a", "b", "ab", "c", "abc"}
    for top in tops:
        assert np.shares_memory(top.data, whole.to_host())
    copies = [k.name for k in net.runner.plan("forward").program.kernels if "copy" in k.name]
    assert not copies


def test_numbers_of_another_net_with_the_same_weights():
    """A deploy net of batch 1 beside a net of batch 2: rows of one are what the other computes."""
    source = INPUT + NETS["in a Concat"][0]
    one, two = built(source, "TEST", np.float32), built(source.replace("dim: 1", "dim: 2", 1), "TEST", np.float32)
    two.share_with(one)
    assert lying_in_wholes(one) and not lying_in_wholes(two)
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4))
    both = two.forward(x=x, blobs=["abc"])["abc"]
    for row in range(2):
        np.testing.assert_allclose(one.forward(x=x[row : row + 1], blobs=["abc"])["abc"][0], both[row], atol=1e-5)


@st.composite
def nets(draw) -> str:
    """Concats and Slices of each other and of what works in place, in any order."""
    lines, blobs, read = [conv("b0", "x")], {"b0": 4}, set()
    for number in range(1, draw(st.integers(2, 9))):
        top = f"b{number}"
        kind = draw(st.sampled_from(["conv", "relu", "sigmoid", "concat", "concat", "slice", "sum"]))
        (*_, last) = chosen = draw(st.lists(st.sampled_from(sorted(blobs)), min_size=1, max_size=3))
        if kind == "conv":
            lines.append(conv(top, last, inside=f"num_output: {draw(st.sampled_from([2, 3, 4]))} kernel_size: 1"))
            blobs[top] = int(lines[-1].split("num_output: ")[1].split()[0])
        elif kind in ("relu", "sigmoid"):
            in_place = last not in read and draw(st.booleans())
            lines.append(layer(f"l{number}", {"relu": "ReLU"}.get(kind, "Sigmoid"), last, last if in_place else top))
            if not in_place:
                blobs[top] = blobs[last]
        elif kind == "concat":
            lines.append(concat(top, " ".join(chosen)))
            blobs[top] = sum(blobs[name] for name in chosen)
        elif kind == "slice" and blobs[last] > 1:
            at = draw(st.integers(1, blobs[last] - 1))
            lines.append(cut(f"l{number}", last, f"{top} {top}b", f"slice_point: {at}"))
            blobs |= {top: at, f"{top}b": blobs[last] - at}
        elif kind == "sum":
            alike = [name for name in sorted(blobs) if blobs[name] == blobs[last]]
            lines.append(layer(f"l{number}", "Eltwise", f"{last} {draw(st.sampled_from(alike))}", top))
            blobs[top] = blobs[last]
        read.update(chosen)
    text = INPUT + "".join(lines)
    for number, name in enumerate(net_outputs(text)):
        text += END.replace('"loss"', f'"loss{number}"') % name
    return text


def net_outputs(text: str) -> list[str]:
    """Blobs that nobody reads."""
    tops, used = [], set()
    for one in parse(text, NetParameter()).layer:
        used.update(b for b in one.bottom if b not in one.top)
        tops += [t for t in one.top if t not in tops]
    return [top for top in tops if top not in used]


@settings(max_examples=60, deadline=None)
@given(nets(), st.booleans())
def test_any_net_of_pieces(source, forced):
    source = ("force_backward: true " if forced else "") + source
    plain = built(source, dtype=np.float32, without=["all"])
    wanted = trained(plain)
    agree(trained(built(source, dtype=np.float32)), wanted, 1e-6, visible(plain, wanted))
    shared = built(source, dtype=np.float32, share_memory=True)
    names = {n for n in wanted[0] if n.split()[0] in shared.params and n.split()[1].isdigit()}
    names |= {f"{name} data" for name in shared.outputs}
    agree(trained(shared), wanted, 1e-6, names)
