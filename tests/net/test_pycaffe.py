"""What pycaffe's own scripts and tests do to a net and a solver, beyond what test_net.py asks."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import ConfigError, UnknownNameError

NET = """
name: "toy" force_backward: true
layer { type: "DummyData" name: "data" top: "data" top: "label"
        dummy_data_param { num: 5 channels: 2 height: 3 width: 4 num: 5 channels: 1 height: 1 width: 1
                           data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { type: "Convolution" name: "conv" bottom: "data" top: "conv"
        convolution_param { num_output: 11 kernel_size: 2 pad: 3 weight_filler { type: "gaussian" std: 1 } }
        param { decay_mult: 1 } param { decay_mult: 0 } }
layer { type: "InnerProduct" name: "ip" bottom: "conv" top: "ip_blob"
        inner_product_param { num_output: 13 weight_filler { type: "gaussian" std: 2.5 } } }
layer { type: "SoftmaxWithLoss" name: "loss" bottom: "ip_blob" bottom: "label" top: "loss" }
"""
INPUTS = """
layer { type: "Input" name: "in" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { type: "InnerProduct" name: "ip" bottom: "x" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { type: "TanH" name: "tanh" bottom: "y" top: "z" }
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "toy.prototxt"
    file.write_text(NET)
    return str(file)


@pytest.fixture
def net(path: str) -> caffe.Net:
    made = caffe.Net(path, caffe.TRAIN)
    made.blobs["label"].data[...] = np.random.default_rng(0).integers(13, size=made.blobs["label"].data.shape)
    return made


@pytest.fixture
def fed() -> caffe.Net:
    return caffe.Net.from_prototxt("force_backward: true" + INPUTS)


# Names and numbers -------------------------------------------------------------------------------------------


def test_blobs_have_numbers(net):
    assert net._blob_names == ["data", "label", "conv", "ip_blob", "loss"]
    assert net._blobs == list(net.blobs.values())
    assert net._inputs == [] and net._outputs == [4]
    assert [net._top_ids(i) for i in range(4)] == [[0, 1], [2], [3], [4]]
    assert [net._bottom_ids(i) for i in range(4)] == [[], [0], [2], [3, 1]]


def test_a_blob_worked_on_in_place_has_one_number(fed):
    net = caffe.Net.from_prototxt(INPUTS + 'layer { type: "ReLU" name: "r" bottom: "z" top: "z" }')
    assert net._top_ids(3) == net._bottom_ids(3) == net._outputs == [2]
    assert net._inputs == [0]


def test_a_loss_need_not_name_its_top(path):
    net = caffe.Net.from_prototxt(NET.replace(' top: "loss"', ""), caffe.TRAIN)
    assert net.forward(end="loss") == {} and net._top_ids(3) == []
    assert net.run_forward() > 0


def test_layers_run_by_number(net):
    net._forward(0, 3)
    assert net._forward(3, 3) == pytest.approx(float(net.blobs["loss"].data))
    net._backward(3, 1)
    assert net.params["conv"][0].diff.any() and net.blobs["data"].diff.any()


@pytest.mark.parametrize(
    "ask, problem",
    [
        (lambda n: n.blobs["conf"], "net 'toy' has no blob 'conf'; did you mean 'conv'?"),
        (lambda n: n.params["pi"], "net 'toy' has no layer with parameters 'pi'; it has conv, ip"),
        (lambda n: n.layer_dict["Conv"], "net 'toy' has no layer 'Conv'; did you mean 'conv'?"),
        (lambda n: n.top_names["zzz"], "net 'toy' has no layer 'zzz'; it has data, conv, ip, loss"),
        (lambda n: n.forward(blobs=["ip"]), "net 'toy' has no blob 'ip'; it has data, label, conv, ip_blob, loss"),
    ],
)
def test_names_that_are_not_there_are_answered_with_the_nearest(net, ask, problem):
    with pytest.raises(KeyError) as caught:
        ask(net)
    assert str(caught.value) == problem and isinstance(caught.value, (UnknownNameError, ConfigError))


def test_asking_whether_a_name_is_there_is_no_error(net):
    assert "conf" not in net.blobs and net.blobs.get("conf") is None and net.params.get("conf", 3) == 3


# Running -----------------------------------------------------------------------------------------------------


def test_a_range_computes_from_what_its_bottoms_hold(net):
    rng = np.random.default_rng(1)
    net.blobs["conv"].data[:] = sample = rng.random(net.blobs["conv"].data.shape)
    out = net.forward(start="ip", end="ip")
    weights, bias = (blob.data for blob in net.params["ip"])
    np.testing.assert_allclose(out["ip_blob"], sample.reshape(5, -1) @ weights.T + bias, rtol=1e-3, atol=1e-5)


def test_backward_of_a_range_needs_no_forward(net):
    net.blobs["ip_blob"].diff[:] = top = np.random.default_rng(1).random((5, 13))
    out = net.backward(start="ip", end="ip")
    assert list(out) == ["conv"]
    np.testing.assert_allclose(
        out["conv"].reshape(5, -1), top @ net.params["ip"][0].data, rtol=1e-3, atol=1e-5
    )  # fmt: skip


def test_backward_before_forward_works_with_zeros(fed):
    fed.blobs["z"].diff[...] = 7
    out = fed.backward()
    np.testing.assert_allclose(out["x"], np.full((4, 2), 7) @ fed.params["ip"][0].data, rtol=1e-5)
    assert not fed.params["ip"][0].diff.any(), "the input was zero"


def test_backward_after_a_reshape_asks_for_forward(fed):
    fed.forward(x=np.zeros((4, 3)))
    fed.blobs["x"].reshape(9, 3)
    with pytest.raises(ConfigError, match="reshaped since the last forward; run forward before backward"):
        fed.backward()
    fed.forward(x=np.zeros((9, 3)))
    assert fed.backward()["x"].shape == (9, 3)


def test_clearing_gradients_reaches_arrays_that_are_held(net):
    net.forward()
    net.backward()
    held = net.params["conv"][0].diff
    assert held.max() > 0
    net.clear_param_diffs()
    assert (held == 0).all()


def test_reshape_from_the_outside(fed):
    fed.blobs["x"].reshape(7, 3)
    fed.forward()
    assert [fed.blobs[name].data.shape for name in "xyz"] == [(7, 3), (7, 2), (7, 2)]


# All of a data set -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4, 11])
def test_forward_all_takes_any_number_of_rows(fed, rows):
    x = np.random.default_rng(2).standard_normal((rows, 3))
    out = fed.forward_all(blobs=["y"], x=x)
    assert {name: array.shape for name, array in out.items()} == {"z": (rows, 2), "y": (rows, 2)}
    weights, bias = (blob.data for blob in fed.params["ip"])
    np.testing.assert_allclose(out["z"], np.tanh(x @ weights.T + bias), rtol=1e-4, atol=1e-6)
    assert fed.blobs["x"].shape == (4, 3)
    kept = out["y"].copy()
    fed.forward(x=np.ones((4, 3)))
    np.testing.assert_array_equal(out["y"], kept, "not the blobs' own arrays")


def test_forward_backward_all(fed):
    rng = np.random.default_rng(3)
    x, top = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    values, gradients = fed.forward_backward_all(blobs=["y"], diffs=["y"], x=x, z=top)
    y_diff = top * (1 - values["z"] ** 2)
    np.testing.assert_allclose(gradients["y"], y_diff, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["x"], y_diff @ fed.params["ip"][0].data, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "call, problem",
    [
        (lambda n: n.forward_all(), "give an array for each of the net's inputs: x"),
        (lambda n: n.forward_all(x=np.zeros((0, 3))), "the same number of rows, and at least one; got x 0"),
        (lambda n: n.forward_backward_all(x=np.zeros((5, 3)), z=np.zeros((6, 2))), "rows.*got x 5, z 6"),
        (
            lambda n: n.forward_backward_all(x=np.zeros((5, 3)), q=np.zeros((5, 2))),
            "outputs of the net are x, z, got q",
        ),
        (lambda n: n.forward(x=np.zeros((5, 3))), r"shape \(4, 3\), .* shape \(5, 3\); .*blobs\['x'\].reshape\(5, 3\)"),
        (lambda n: n.forward(x=np.zeros((4, 3), complex)), "'x': the data given must be numbers, got .* complex128"),
        (lambda n: n.forward(x=[[1], [1, 2]]), "blob 'x': the data given is no array of numbers but a list"),
        (lambda n: n.forward(x=None), "must be numbers, got an array of object"),
    ],
)
def test_wrong_arrays_are_explained(fed, call, problem):
    with pytest.raises(ConfigError, match=problem):
        call(fed)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint16, np.int64, bool])
def test_arrays_of_any_type_of_number_are_taken(fed, dtype):
    x = np.arange(12).reshape(3, 4).T.astype(dtype)
    assert not x.flags.c_contiguous
    fed.forward(x=x)
    np.testing.assert_array_equal(fed.blobs["x"].data, x.astype(np.float32))
    fed.blobs["x"].data[...] = 0
    fed.blobs["x"].data[...] = x
    np.testing.assert_array_equal(fed.blobs["x"].data, x.astype(np.float32))


def test_a_sample_may_be_spread_as_numpy_does(fed):
    fed.forward(x=np.arange(4).reshape(4, 1))
    np.testing.assert_array_equal(fed.blobs["x"].data, np.arange(4).reshape(4, 1).repeat(3, axis=1))
    with pytest.raises(ConfigError, match=r"shape \(4, 3\), but the data given has shape \(1, 3\)"):
        fed.forward(x=np.ones((1, 3)))


def test_numbers_that_are_none_go_through_and_are_found_when_asked_for(fed):
    x = np.zeros((4, 3))
    x[2, 1] = np.nan
    assert np.isnan(fed.forward(x=x)["z"][2]).all()
    assert fed.first_bad_blob() == "top 'x' of layer 'in' (Input)"


# Memory ------------------------------------------------------------------------------------------------------


def test_arrays_outlive_their_net(net):
    net.forward()
    blobs, arrays = list(net.blobs.values()), [blob.data for blobs in net.params.values() for blob in blobs]
    wanted = [array.copy() for array in arrays]
    del net
    gc.collect()
    for array, values in zip(arrays, wanted, strict=True):
        np.testing.assert_array_equal(array, values)
    assert np.isfinite(sum(blob.data.sum() + blob.diff.sum() for blob in blobs))


def test_nets_outlive_their_solver(path, tmp_path):
    file = tmp_path / "solver.prototxt"
    file.write_text(f'net: "{path}" test_iter: 1 test_interval: 5 base_lr: 0.01 lr_policy: "fixed" max_iter: 9')
    solver = caffe.SGDSolver(str(file))
    solver.step(2)
    nets, weights = [solver.net, *solver.test_nets], solver.net.params["ip"][0].data
    del solver
    gc.collect()
    weights[...] = 0
    weights[3] = 1
    for net in nets:
        net.forward()
        conv = net.blobs["conv"].data.reshape(5, -1)
        wanted = conv.sum(axis=1) + net.params["ip"][1].data[3]
        np.testing.assert_allclose(net.blobs["ip_blob"].data[:, 3], wanted, rtol=1e-3, atol=1e-4)


# Files -------------------------------------------------------------------------------------------------------


def test_the_old_form_of_the_constructor_names_the_new_one(path, net, tmp_path):
    weights = str(tmp_path / "w.caffemodel")
    net.save(weights)
    with pytest.warns(DeprecationWarning, match=r"old form of Net\('.*toy.prototxt', 1, weights='.*w.caffemodel'\)"):
        old = caffe.Net(path, weights, caffe.TEST)
    new = caffe.Net(network_file=path, phase=caffe.TEST, weights=weights)
    for other in (old, new):
        assert other.phase == caffe.TEST
        np.testing.assert_array_equal(other.params["ip"][0].data, net.params["ip"][0].data)


def test_hdf5_whatever_the_file_is_called(path, net, tmp_path):
    pytest.importorskip("h5py")
    net.save_hdf5(str(tmp_path / "weights"))
    other = caffe.Net(path, caffe.TRAIN)
    other.load_hdf5(str(tmp_path / "weights"))
    for name, blobs in net.params.items():
        for mine, theirs in zip(blobs, other.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_stages_that_are_no_list_are_refused(path):
    with pytest.raises(
        ConfigError, match=r"stages: must be a list of names, got the text 'deploy'; write \['deploy'\]"
    ):
        caffe.Net(path, caffe.TEST, stages="deploy")
