"""Passes over plans: nets compute the same with and without each of them, whatever part of a net is run."""

from __future__ import annotations

import numpy as np
import pytest
from chains import (
    CHAINS,
    END,
    INPUT,
    LABEL,
    agree,
    built,
    conv,
    in_parts,
    launched,
    layer,
    layers_then_whole,
    norm,
    relu,
    scored,
    source_of,
    trained,
    visible,
    whole_then_layers,
)

from pycaffe_lite.backend.cpu import pixels, pool, shifts
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net import passes


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
