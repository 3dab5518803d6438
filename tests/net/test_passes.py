"""Passes over plans: nets compute the same with and without each of them, whatever part of a net is run."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pycaffe_lite import random
from pycaffe_lite.backend.cpu import pixels, pool, shifts
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net import passes
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import parse

INPUT = 'layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 3 dim: 4 dim: 6 dim: 5 } %s } } '
LABEL = "shape { dim: 3 dim: 3 }"
END = (
    'layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip" inner_product_param { num_output: 3 '
    'weight_filler { type: "xavier" } } } '
    'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'
)


def layer(name, kind, bottom, top=None, inside=""):
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or bottom}" {inside} }} '


def conv(name, bottom, top=None, inside="num_output: 4 kernel_size: 3 pad: 1", outer=""):
    fill = 'weight_filler { type: "xavier" } bias_filler { type: "uniform" min: -0.2 max: 0.2 }'
    return layer(name, "Convolution", bottom, top or name, f"{outer} convolution_param {{ {inside} {fill} }}")


def norm(at, tops=None, bn="", scale="bias_term: true", outer=""):
    """BatchNorm and Scale, in place unless told otherwise."""
    first, second = tops or (at, at)
    fill = 'filler { type: "uniform" min: -1 max: 1.5 } bias_filler { type: "uniform" min: -0.5 max: 0.5 }'
    made = layer(f"{at}_bn", "BatchNorm", at, first, f"batch_norm_param {{ {bn} }}")
    return made + layer(f"{at}_scale", "Scale", first, second, f"{outer} scale_param {{ {scale} {fill} }}")


def relu(at, top=None, inside=""):
    return layer(f"{at}_relu", "ReLU", at, top, inside)


def pooled(bottom, top, inside="kernel_size: 2 stride: 2"):
    return layer(f"{bottom}_pool", "Pooling", bottom, top, f"pooling_param {{ {inside} }}")


FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
LEAKY = "relu_param { negative_slope: 0.1 }"
BLOCK = (
    conv("a", "x") + norm("a") + relu("a") + conv("b", "a") + norm("b")
    + layer("s", "Eltwise", "a b", "s") + relu("s") + conv("c", "s") + norm("c") + relu("c") + conv("d", "c")
    + norm("d") + layer("u", "Eltwise", "s d", "u") + relu("u")
)  # fmt: skip
CHAINS = {
    "convolution and ReLU": conv("a", "x") + relu("a") + END % "a",
    "with a name between": conv("a", "x") + relu("a", "b") + END % "b",
    "that somebody else reads": conv("a", "x") + relu("a", "b") + layer("s", "Eltwise", "a b", "c") + END % "c",
    "leaky": conv("a", "x") + relu("a", inside=LEAKY) + END % "a",
    "negative slope": conv("a", "x") + relu("a", "b", "relu_param { negative_slope: -0.5 }") + END % "b",
    "without bias": conv("a", "x", inside="num_output: 4 kernel_size: 2 bias_term: false") + relu("a") + END % "a",
    "groups": conv("a", "x", inside="num_output: 4 kernel_size: 3 group: 2") + relu("a") + END % "a",
    "depthwise": conv("a", "x", inside="num_output: 4 kernel_size: 3 group: 4") + relu("a") + END % "a",
    "convolution and pool": conv("a", "x") + pooled("a", "b") + END % "b",
    "convolution, ReLU and pool": conv("a", "x") + relu("a") + pooled("a", "b") + END % "b",
    "a ReLU with a name of its own, and pool": conv("a", "x") + relu("a", "c") + pooled("c", "b") + END % "b",
    "leaky ReLU and pool": conv("a", "x") + relu("a", inside=LEAKY) + pooled("a", "b") + END % "b",
    "overlapping windows": conv("a", "x") + pooled("a", "b", "kernel_size: 3 stride: 2 pad: 1") + END % "b",
    "means": conv("a", "x") + relu("a") + pooled("a", "b", "pool: AVE kernel_size: 3 stride: 2") + END % "b",
    "global pooling": conv("a", "x") + pooled("a", "b", "pool: AVE global_pooling: true") + END % "b",
    "a pool whose bottom somebody else reads": conv("a", "x") + pooled("a", "b", "kernel_size: 3 stride: 1 pad: 1")
        + layer("s", "Eltwise", "a b", "s") + END % "s",
    "two pools": conv("a", "x") + pooled("a", "b", "kernel_size: 2 stride: 1") + pooled("b", "c") + END % "c",
    "inner product and ReLU": layer("a", "InnerProduct", "x", "a", "inner_product_param { num_output: 5 "
        'weight_filler { type: "xavier" } }') + relu("a") + END % "a",
    "inner product without bias": layer("a", "InnerProduct", "x", "a", "inner_product_param { num_output: 5 "
        'bias_term: false weight_filler { type: "xavier" } }') + relu("a") + END % "a",
    "BatchNorm and Scale": conv("a", "x") + norm("a") + END % "a",
    "and ReLU": conv("a", "x") + norm("a") + relu("a") + END % "a",
    "and leaky ReLU": conv("a", "x") + norm("a") + relu("a", inside=LEAKY) + END % "a",
    "names of their own": conv("a", "x") + norm("a", ("b", "c")) + relu("c", "d") + END % "d",
    "global statistics": conv("a", "x") + norm("a", bn="use_global_stats: true") + relu("a") + END % "a",
    "no bias in Scale": conv("a", "x") + norm("a", scale="") + relu("a") + END % "a",
    "frozen Scale": conv("a", "x") + norm("a", outer=FROZEN) + relu("a") + END % "a",
    "frozen convolution": conv("a", "x", outer=FROZEN) + norm("a") + relu("a") + END % "a",
    "a Scale of single values": conv("a", "x") + norm("a", scale="axis: 1 num_axes: 2") + relu("a") + END % "a",
    "eps": conv("a", "x") + norm("a", bn="eps: 0.5 moving_average_fraction: 0.7") + END % "a",
    "residual": BLOCK + END % "u",
    "residual of many channels": BLOCK.replace("num_output: 4", "num_output: 16") + END % "u",
    "residual with a convolution in the shortcut": conv("a", "x") + relu("a") + conv("b", "a") + norm("b")
        + conv("c", "a") + norm("c") + layer("s", "Eltwise", "b c", "s") + relu("s", inside=LEAKY) + conv("d", "s")
        + conv("e", "s") + layer("u", "Eltwise", "d e", "u") + END % "u",
    "the shortcut behind the branch": conv("a", "x") + conv("b", "a") + norm("b") + conv("c", "a") + relu("c")
        + layer("s", "Eltwise", "b c", "s") + relu("s") + END % "s",
    "a sum without ReLU": conv("a", "x") + conv("b", "a") + norm("b") + layer("s", "Eltwise", "b a", "s") + END % "s",
    "a norm added to itself": conv("a", "x") + norm("a") + layer("s", "Eltwise", "a a", "s") + relu("s") + END % "s",
    "weighted sum": conv("a", "x") + conv("b", "x") + layer("s", "Eltwise", "a b", "s",
        "eltwise_param { coeff: 1 coeff: -2 }") + relu("s") + END % "s",
    "three in a sum": conv("a", "x") + conv("b", "x") + conv("c", "x")
        + layer("s", "Eltwise", "a b c", "s") + relu("s") + END % "s",
    "nested sums": conv("a", "x") + conv("b", "a") + layer("s", "Eltwise", "a b", "s") + conv("c", "x")
        + layer("u", "Eltwise", "s c", "u") + relu("u") + END % "u",
    "a sum of what works in place": conv("a", "x") + relu("a") + conv("b", "x") + relu("b")
        + layer("s", "Eltwise", "a b", "s") + END % "s",
    "a sum with the input": conv("a", "x") + layer("s", "Eltwise", "a x", "s") + relu("s") + END % "s",
    "many readers": conv("a", "x") + relu("a") + "".join(conv(n, "a") for n in "bcdefg")
        + layer("s", "Eltwise", "b c d e f g", "s") + END % "s",
    "a view between": conv("a", "x") + layer("f", "Flatten", "a", "f") + relu("f") + END % "f",
    "a sum of views": conv("a", "x") + layer("f", "Flatten", "a", "f") + conv("b", "x")
        + layer("g", "Flatten", "b", "g") + layer("s", "Eltwise", "f g", "s") + relu("s") + END % "s",
    "shared parameters": conv("a", "x", outer='param { name: "w" } param { name: "b" }') + relu("a")
        + conv("b", "a", outer='param { name: "w" } param { name: "b" }') + relu("b") + END % "b",
    "a sum that is a loss": conv("a", "x") + conv("b", "x") + layer("s", "Eltwise", "a b", "s", "loss_weight: 0.1")
        + layer("r", "Reduction", "s", "r", "loss_weight: 1"),
}  # fmt: skip


def built(source, phase="TRAIN", dtype=np.float64, **options):
    param = parse(source, NetParameter())
    param.state.phase = getattr(caffe_pb2, phase)
    random.set_random_seed(5)
    return Net.from_proto(param, dtype=dtype, **options)


def source_of(chain, forced=False):
    return ("force_backward: true " if forced else "") + INPUT % LABEL + CHAINS[chain]


def trained(net, run=None, iterations=2):
    """All that there is to see of a few steps of plain gradient descent: values, gradients, parameters."""
    rng, seen = np.random.default_rng(0), []
    for _ in range(iterations):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
        net.clear_param_diffs()
        if run:
            run(net)
        else:
            net.run_forward()
            net.run_backward()
        seen.append({f"{n} data": b.data.copy() for n, b in net.blobs.items()})
        seen[-1] |= {f"{n} diff": b.diff.copy() for n, b in net.blobs.items()}
        for name, blobs in net.params.items():
            seen[-1] |= {f"{name} {i} diff": b.diff.copy() for i, b in enumerate(blobs)}
            for blob, kept in zip(blobs, net.layer_dict[name].param_propagate_down):
                if kept:
                    blob.data[...] -= 0.1 * blob.diff
            seen[-1] |= {f"{name} {i}": b.data.copy() for i, b in enumerate(blobs)}
    return seen


def agree(results, wanted, tolerance=1e-12, names=None):
    for got, want in zip(results, wanted, strict=True):
        for name, array in want.items():
            if names is None or name in names:
                scale = max(1.0, float(np.abs(array).max(initial=0)))
                np.testing.assert_allclose(got[name] / scale, array / scale, atol=tolerance, rtol=0, err_msg=name)


def hidden(net):
    """What Caffe overwrites too: gradients of blobs whose name several layers work at."""
    return {f"{n.top_names[0]} diff" for n in net.graph.nodes if n.top_names[:1] == n.bottom_names[:1]}


def visible(net, wanted):
    return [name for name in wanted[0] if name not in hidden(net)]


@pytest.mark.parametrize("without", [(), *((name,) for name in [*passes.ALIASES, *passes.PASSES])], ids=str)
@pytest.mark.parametrize("chain", CHAINS)
def test_all_that_can_be_read_is_the_same_with_and_without(chain, without):
    plain = built(source_of(chain), without=["all"])
    wanted = trained(plain)
    agree(trained(built(source_of(chain), without=without)), wanted, names=visible(plain, wanted))


@pytest.mark.parametrize("chain", [name for name, source in CHAINS.items() if "BatchNorm" not in source])
def test_where_the_arithmetic_is_the_same_so_are_the_bits(chain):
    plain = built(source_of(chain), dtype=np.float32, without=["all"])
    wanted = trained(plain, iterations=3)
    net = built(source_of(chain), dtype=np.float32, without=["winners"])  # which add up in another order
    agree(trained(net, iterations=3), wanted, 0, visible(plain, wanted))


@pytest.mark.parametrize("chain", ["residual", "residual of many channels", "many readers", "names of their own"])
def test_the_same_bits_on_any_number_of_threads(chain):
    before, found = pool.threads(), []
    try:
        for count in (1, 2, 4):
            pool.set_threads(count)
            found.append(trained(built(source_of(chain), dtype=np.float32), iterations=3))
    finally:
        pool.set_threads(before)
    for other in found[1:]:
        agree(other, found[0], 0)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("chain", CHAINS)
def test_on_every_device(device, chain, phase):
    plain = built(source_of(chain, forced=True), phase, np.float32, without=["all"])
    joined = built(source_of(chain, forced=True), phase, np.float32)
    wanted = trained(plain, iterations=1)
    agree(trained(joined, iterations=1), wanted, 2e-5, visible(plain, wanted))


TOLERANCES = {"float64": 1e-12, "float32": 2e-5}  # winners of a pool are added up in another order
POOLS = [name for name, source in CHAINS.items() if "Pooling" in source]


@pytest.mark.parametrize(("chain", "dtype"), [(c, "float64") for c in CHAINS] + [(c, "float32") for c in POOLS])
def test_with_shared_memory_outputs_and_parameters_are_the_same(chain, dtype):
    wanted = trained(built(source_of(chain), without=["all"], dtype=dtype))
    for kept in ((), ("a",)):
        net = built(source_of(chain), share_memory=True, keep=kept, dtype=dtype)
        names = {n for n in wanted[0] if n.rsplit(" ", 1)[0] in (*kept, *net.outputs) and "diff" not in n}
        names |= {n for n in wanted[0] if n.split()[0] in net.params and n.split()[1].isdigit()}
        agree(trained(net), wanted, TOLERANCES[dtype], names)


def scored(net, forwards=3):
    """What can be read after each of some forwards; in between, somebody changes the parameters."""
    rng, seen = np.random.default_rng(1), []
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.2, 1.5, blob.shape)
    for _ in range(forwards):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
        net.run_forward()
        seen.append({f"{name} data": net.blobs[name].data.copy() for name in net.graph.kept})
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] *= rng.uniform(0.9, 1.1, blob.shape)
    return seen


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("chain", CHAINS)
def test_forward_only(device, chain, share):
    wanted = scored(built(source_of(chain), "TEST", np.float32, without=["all"], forward_only=True))
    net = built(source_of(chain), "TEST", np.float32, forward_only=True, share_memory=share)
    names = {f"{name} data" for name in net.graph.kept}
    agree(scored(net), wanted, 2e-5, names & set(wanted[0]))


@pytest.mark.parametrize("chain", [name for name, source in CHAINS.items() if "BatchNorm" in source])
def test_forward_only_where_convolutions_take_factors_and_terms_along(chain, monkeypatch):
    monkeypatch.setattr(shifts, "pays", lambda of: False)
    wanted = scored(built(source_of(chain), "TEST", np.float32, without=["all"], forward_only=True))
    for uses in (0, 4):
        monkeypatch.setattr(pixels, "USES", uses)
        monkeypatch.setattr(pixels, "pays", lambda of: True)
        net = built(source_of(chain), "TEST", np.float32, forward_only=True, share_memory=True)
        agree(scored(net), wanted, 2e-5, {f"{name} data" for name in net.graph.kept} & set(wanted[0]))


@pytest.mark.parametrize("top", ["y", "s"])
def test_a_sum_goes_into_the_convolution_in_front_of_it(top):
    inside = "num_output: 32 kernel_size: 1"
    total = layer("sum", "Eltwise", "s a", top)
    source = INPUT % LABEL + conv("s", "x", inside=inside) + conv("a", "x", inside=inside) + norm("a") + total
    wanted = scored(built(source, "TEST", np.float32, without=["all"], forward_only=True))
    net = built(source, "TEST", np.float32, forward_only=True, share_memory=True)
    agree(scored(net), wanted, 2e-5, [f"{top} data"])
    kernels = [kernel.name for kernel in net._runner.plan("forward").program.kernels]
    assert kernels == ["convolve_pixels", "fold_norm", "convolve_pixels"]


def test_a_convolution_takes_the_layers_behind_it_into_its_weights_or_its_results():
    big = conv("a", "x", inside="num_output: 96 kernel_size: 1") + norm("a") + relu("a")
    net = built(
        INPUT % LABEL + big + conv("b", "a", inside="num_output: 5 kernel_size: 5") + norm("b") + relu("b"), "TEST"
    )
    found = launched(net, "forward")
    assert found.count(["Convolution", "BatchNorm", "Scale", "ReLU"]) == 2
    net.run_forward()
    kernels = [kernel.name for kernel in net._runner.plan("forward").program.kernels]
    assert kernels.count("fold_norm") == kernels.count("apply_norm") == 1


def in_parts(net):
    """Forward and backward in three parts, cut in the middle of whatever is joined."""
    last = len(net.layers) - 1
    cuts = sorted({0, last // 3, 2 * last // 3 + 1, last + 1})
    for low, high in pairwise(cuts):
        net.run_forward(low, high - 1)
    for low, high in reversed(list(pairwise(cuts))):
        net.run_backward(high - 1, low)


def whole_then_layers(net):
    """A joined forward, and a backward layer by layer."""
    net.run_forward()
    for index in reversed(range(len(net.layers))):
        net.run_backward(index, index)


def layers_then_whole(net):
    """The other way round, behind a backward that is to leave no traces."""
    for index in range(len(net.layers)):
        net.run_forward(index, index)
    if not net.graph.kept < set(net.blobs):  # shared memory is good for one backward
        net.run_backward()
        net.clear_param_diffs()
    net.run_backward()


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("run", [in_parts, whole_then_layers, layers_then_whole])
@pytest.mark.parametrize(("chain", "dtype"), [(c, "float64") for c in CHAINS] + [(c, "float32") for c in POOLS])
def test_any_part_of_a_net_can_be_run(chain, dtype, run, share):
    wanted = trained(built(source_of(chain), without=["all"], dtype=dtype))
    net = built(source_of(chain), share_memory=share, dtype=dtype)
    names = {n for n in wanted[0] if n.split()[0] in net.params and n.split()[1].isdigit()}
    agree(trained(net, run), wanted, TOLERANCES[dtype], names | {"loss data"} & set(wanted[0]))


@pytest.mark.parametrize("chain", ["and ReLU", "residual", "convolution and ReLU"])
def test_another_shape_and_back(chain):
    net, plain = built(source_of(chain)), built(source_of(chain), without=["all"])
    for batch in (5, 2, 3):
        for one in (net, plain):
            one.blobs["x"].reshape(batch, 4, 6, 5)
            one.blobs["t"].reshape(batch, 3)
        wanted = trained(plain, iterations=1)
        agree(trained(net, iterations=1), wanted, names=visible(plain, wanted))


def test_a_top_that_works_in_place_has_the_gradient_that_caffe_leaves_there():
    source = source_of("and ReLU", forced=True)
    net = built(source)
    trained(net, iterations=1)
    below = net.graph.nodes[net._layer_names.index("a")].top[0]
    assert net.blobs["a"] is not below
    np.testing.assert_array_equal(net.blobs["a"].diff, below.diff)


def launched(net, direction):
    return [[node.layer.type for node in step.nodes] for step in passes.schedule(net.graph, direction).steps]


def test_what_is_joined():
    forward = launched(built(source_of("residual")), "forward")
    assert forward.count(["BatchNorm", "Scale", "ReLU"]) == 2 and forward.count(["BatchNorm", "Scale"]) == 2
    assert forward.count(["Eltwise", "ReLU"]) == 2
    forward = launched(built(source_of("residual"), share_memory=True), "forward")
    assert forward.count(["BatchNorm", "Scale", "Eltwise", "ReLU"]) == 2
    backward = launched(built(source_of("residual")), "backward")
    assert ["ReLU", "Scale", "BatchNorm"] in backward and ["ReLU", "Eltwise", "Scale", "BatchNorm"] in backward
    assert ["Split", "ReLU", "Eltwise", "Scale", "BatchNorm"] in backward
    assert ["Split", "ReLU"] in launched(built(source_of("residual"), without=["norm"]), "backward")
    assert ["Convolution", "ReLU"] in launched(built(source_of("convolution and ReLU")), "forward")
    assert all(len(step) == 1 for step in launched(built(source_of("residual"), without=["all"]), "forward"))


def test_a_bias_in_front_of_a_batch_norm_gets_no_gradient():
    net, plain = (built(source_of("and ReLU"), dtype=np.float32, without=without) for without in ([], ["bias"]))
    for one in (net, plain):
        trained(one, iterations=1)
    assert not net.params["a"][1].diff.any()
    assert np.abs(plain.params["a"][1].diff).max() < 1e-5 * np.abs(plain.params["a"][0].diff).max()
    learnt = built(source_of("global statistics"))
    trained(learnt, iterations=1)
    assert np.abs(learnt.params["a"][1].diff).max() > 1e-3


def test_a_bias_gets_its_gradient_where_the_batch_norm_behind_it_does_not_run():
    net = built(INPUT % LABEL + conv("a", "x") + norm("a", ("b", "c")) + relu("c") + END % "c")
    net.run_forward()
    diff = net.blobs["a"].diff[...] = np.random.default_rng(3).standard_normal(net.blobs["a"].shape)
    net.backward(start="a", end="a")
    np.testing.assert_allclose(net.params["a"][1].diff, diff.sum(axis=(0, 2, 3)))


def test_a_sum_hands_on_its_gradient_without_copies():
    net = built(source_of("residual"))
    assert net.blobs["u"].diff_memory is net.blobs["d"].diff_memory
    trained(net, iterations=1)
    np.testing.assert_array_equal(net.blobs["u"].diff, net.blobs["d"].diff)


def test_a_name_between_is_fused_away_only_where_nobody_asked_to_keep_it():
    source = source_of("with a name between")
    assert ["Convolution"] in launched(built(source), "forward")
    assert ["Convolution", "ReLU"] in launched(built(source, share_memory=True), "forward")
    assert ["Convolution"] in launched(built(source, share_memory=True, keep=["a"]), "forward")


def test_passes_are_switched_off_by_name(monkeypatch):
    monkeypatch.setenv(passes.VARIABLE, "relu, norm")
    assert passes.left_out() == {"relu", "norm"}
    assert ["Convolution"] in launched(built(source_of("convolution and ReLU")), "forward")
    assert passes.left_out(["all"]) == {*passes.ALIASES, *passes.PASSES}
    with pytest.raises(
        ConfigError, match=r"without: must name passes \(.*\) or be all, got 'rely'; did you mean 'relu'"
    ):
        passes.left_out(["rely"])
    monkeypatch.setenv(passes.VARIABLE, "nrom")
    with pytest.raises(ConfigError, match="CAFFE_LITE_WITHOUT: must name passes"):
        passes.left_out()


def test_the_first_bad_blob_is_found_though_memory_is_shared():
    net = built(source_of("residual"), share_memory=True)
    for name in net.inputs:
        net.blobs[name].data[...] = 1
    net.run_forward()
    net.run_backward()
    assert net.first_bad_blob() is None
    net.params["c_scale"][1].data[2] = np.inf
    net.run_forward()
    net.run_backward()
    assert net.first_bad_blob() == "parameter 1 of layer 'c_scale' (Scale)"
    net.params["c_scale"][1].data[2] = 0
    net.params["c"][0].data[0] = 1e308
    net.run_forward()
    assert net.first_bad_blob() == "top 'c' of layer 'c' (Convolution)"


def test_forward_only_nets_have_no_backward():
    net = built(source_of("residual"), share_memory=True, forward_only=True)
    assert launched(net, "backward") == []
    with pytest.raises(ConfigError, match="was made with forward_only"):
        net.run_backward()
    assert net.memory_bytes["activations"] < built(source_of("residual")).memory_bytes["activations"] / 3
