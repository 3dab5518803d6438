"""Net under pycaffe's names: making, asking, running, reshaping, saving and sharing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite import Net, random
from pycaffe_lite.errors import ConfigError, DataError, WeightsError
from pycaffe_lite.proto import NetParameter, text, upgrade

SOURCE = """
name: "small"
layer { name: "in" type: "Input" top: "data" top: "label" include { phase: TRAIN }
        input_param { shape { dim: 4 dim: 1 dim: 6 dim: 6 } shape { dim: 4 } } }
layer { name: "in" type: "Input" top: "data" top: "label" include { phase: TEST }
        input_param { shape { dim: 2 dim: 1 dim: 6 dim: 6 } shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "extra" type: "Sigmoid" bottom: "ip" top: "extra" include { min_level: 1 } }
layer { name: "more" type: "TanH" bottom: "ip" top: "more" include { stage: "a" stage: "b" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "net.prototxt"
    file.write_text(SOURCE)
    return str(file)


@pytest.fixture
def net(path: str) -> Net:
    random.set_random_seed(1)
    return Net(path, caffe.TRAIN)


def batch(count: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"data": rng.standard_normal((count, 1, 6, 6)).astype(np.float32), "label": rng.integers(0, 5, count)}


# Making ------------------------------------------------------------------------------------------------------


def test_phase_level_and_stages_select_layers(path):
    def layers(*args, **options):
        return set(Net(path, *args, **options)._layer_names)

    assert "accuracy" not in layers(caffe.TRAIN)
    assert {"accuracy"} <= layers(caffe.TEST) == layers()
    assert "extra" in layers(caffe.TEST, 1) and "extra" not in layers(caffe.TEST, level=0)
    assert "more" not in layers(caffe.TEST, stages=["a"])
    assert "more" in layers(caffe.TEST, 0, ["b", "a"])


def test_stages_are_added_to_those_of_the_file(path):
    Path(path).write_text(SOURCE + 'state { stage: "a" }')
    assert "more" in Net(path, caffe.TEST, stages=["b"])._layer_names


@pytest.mark.filterwarnings("ignore:.*old form")
def test_weights_can_be_given_in_three_ways(path, net, tmp_path):
    weights = str(tmp_path / "w.caffemodel")
    net.save(weights)
    made = [
        Net(path, caffe.TEST, weights=weights),
        Net(path, weights, caffe.TEST),
        Net(path, Path(weights)),
        Net(path, weights, caffe.TRAIN),
    ]
    assert [n.phase for n in made] == [caffe.TEST] * 3 + [caffe.TRAIN]
    for other in made:
        for name, blobs in net.params.items():
            for mine, theirs in zip(blobs, other.params[name], strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)


def test_a_caffemodel_is_a_net_with_its_weights(path, net, tmp_path):
    net.save(tmp_path / "w.caffemodel")
    again = Net(tmp_path / "w.caffemodel", caffe.TRAIN)
    np.testing.assert_array_equal(again.params["conv"][0].data, net.params["conv"][0].data)
    assert not again.param.layer[1].blobs, "the message's copy is not kept"


def test_wrong_phase(path):
    with pytest.raises(ConfigError, match=r"phase: must be TRAIN \(0\) or TEST \(1\), got 7"):
        Net(path, 7)


# Asking ------------------------------------------------------------------------------------------------------


def test_names_are_pycaffes(net):
    assert net.name == "small"
    assert list(net.blobs) == ["data", "label", "conv", "ip", "loss"]
    assert list(net.params) == ["conv", "ip"]
    assert [b.shape for b in net.params["ip"]] == [(5, 48), (5,)]
    assert net._layer_names == ["in", "conv", "relu", "ip", "loss"]
    assert [layer.type for layer in net.layers] == ["Input", "Convolution", "ReLU", "InnerProduct", "SoftmaxWithLoss"]
    assert list(net.layer_dict) == net._layer_names and net.layer_dict["ip"] is net.layers[3]
    assert net.layer_dict["conv"].blobs is net.params["conv"]
    assert net.inputs == ["data", "label"] and net.outputs == ["loss"]
    assert net.top_names["in"] == ["data", "label"] and net.bottom_names["relu"] == ["conv"]
    assert net.blob_loss_weights["loss"] == 2 and net.blob_loss_weights["ip"] == 0
    blob = net.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (4, 1, 6, 6, 144)


def test_splits_have_caffes_names(path):
    net = Net(path, caffe.TEST)
    assert "ip_ip_0_split" in net._layer_names and {"ip_ip_0_split_0", "ip_ip_0_split_1"} <= set(net.blobs)
    assert net.outputs == ["accuracy", "loss"]


def test_repr(net):
    assert repr(net) == "<Net 'small' TRAIN: 5 layers, 275 parameters, inputs ['data', 'label'], outputs ['loss']>"


# Running -----------------------------------------------------------------------------------------------------


def test_forward_returns_outputs_and_the_blobs_asked_for(net):
    out = net.forward(**batch())
    assert list(out) == ["loss"] and out["loss"].shape == ()
    out = net.forward(blobs=["conv", "ip"])
    assert set(out) == {"loss", "conv", "ip"} and out["conv"].min() == 0
    np.testing.assert_array_equal(out["ip"], net.blobs["ip"].data)


def test_forward_of_a_range(net):
    whole = net.forward(**batch(), blobs=["ip"])["ip"].copy()
    net.blobs["ip"].data[...] = 0
    out = net.forward(end="conv")
    assert list(out) == ["conv"] and not net.blobs["ip"].data.any()
    assert list(net.forward(start="relu", end="ip")) == ["ip"]
    np.testing.assert_array_equal(net.blobs["ip"].data, whole)
    net.blobs["ip"].data[:, 0] += 3
    changed = net.forward(start="loss")["loss"]
    assert np.isclose(changed, reference_loss(net.blobs["ip"].data, net.blobs["label"].data))


def reference_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    scores = scores.astype(float) - scores.max(axis=1, keepdims=True)
    log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -np.mean([log[i, int(label)] for i, label in enumerate(labels)])


def test_the_loss_of_a_run_is_that_of_its_layers(net):
    net.forward(**batch())
    assert net.run_forward() == pytest.approx(2 * float(net.blobs["loss"].data))
    assert net.run_forward(0, 3) == 0


def test_backward_returns_gradients(path):
    net = Net.from_proto(in_train("force_backward: true" + SOURCE))
    net.forward(**batch())
    diffs = net.backward()
    assert set(diffs) == {"data", "label"} and diffs["data"].any()
    assert set(net.backward(diffs=["conv"])) == {"data", "label", "conv"}
    assert net.blobs["loss"].diff == 2, "the loss weight starts it"
    assert list(net.backward(end="ip")) == ["conv"]


def in_train(source: str) -> NetParameter:
    param = text.parse(source, NetParameter())
    param.state.phase = caffe.TRAIN
    return param


def test_backward_from_given_gradients(net):
    net.forward(**batch())
    seed = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    net.clear_param_diffs()
    net.backward(start="ip", end="ip", ip=seed)
    np.testing.assert_allclose(net.params["ip"][1].diff, seed.sum(axis=0), rtol=1e-5)
    assert not net.params["conv"][0].diff.any()


def test_parameter_gradients_add_up_until_cleared(net):
    net.forward(**batch())
    net.backward()
    once = net.params["conv"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["conv"][0].diff, 2 * once, rtol=1e-6)
    net.clear_param_diffs()
    assert not net.params["conv"][0].diff.any()


def test_callbacks_hear_of_every_layer(net):
    heard = []
    for name in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, name)(lambda index, name=name: heard.append((name, index)))
    net.forward(**batch(), end="relu")
    assert heard == [(name, i) for i in range(3) for name in ("before_forward", "after_forward")]
    heard.clear()
    net.run_backward(4, 3)
    assert heard == [(name, i) for i in (4, 3) for name in ("before_backward", "after_backward")]


def test_a_callback_sees_the_values_of_its_layer(net):
    seen = {}
    net.after_forward(lambda index: seen.update({index: net.blobs["conv"].data.min()}))
    net.forward(**batch())
    assert seen[1] < 0 <= seen[2], "in front of the ReLU, and behind it"


@pytest.mark.parametrize(
    "call, problem",
    [
        (lambda n: n.forward(data=np.zeros((4, 1, 6, 6))), "inputs of the net are data, label, got data"),
        (lambda n: n.forward(**batch(3)), r"blob 'data' has shape \(4, 1, 6, 6\), .* given has shape \(3, 1, 6, 6\)"),
        (lambda n: n.forward(**batch(), other=1), "inputs of the net are data, label, got data, label, other"),
        (lambda n: n.forward(blobs=["cnov"]), "net 'small' has no blob 'cnov'; did you mean 'conv'?"),
        (lambda n: n.forward(start="cnov"), "net 'small' has no layer 'cnov'; did you mean 'conv'?"),
        (lambda n: n.forward(end="zzz"), "net 'small' has no layer 'zzz'; it has in, conv, relu, ip, loss$"),
        (lambda n: n.backward(diffs=["cnov"]), "net 'small' has no blob 'cnov'"),
        (lambda n: n.backward(ip=np.zeros((4, 5))), "gradients are wanted for loss, got ip"),
        (lambda n: n.set_input_arrays(np.zeros(1), np.zeros(1)), "must be of type MemoryData, but 'in' is Input"),
    ],
)
def test_wrong_calls_are_explained_and_change_nothing(net, call, problem):
    net.forward(**batch())
    before = {name: blob.data.copy() for name, blob in net.blobs.items()}
    with pytest.raises(ConfigError, match=problem):
        call(net)
    for name, values in before.items():
        np.testing.assert_array_equal(net.blobs[name].data, values)


# Reshaping ---------------------------------------------------------------------------------------------------


def test_reshape_and_run(net):
    wanted = net.forward(**batch())["loss"].copy()
    for count in (9, 1, 4):
        net.blobs["data"].reshape(count, 1, 6, 6)
        net.blobs["label"].reshape(count)
        if count == 9:
            net.reshape()
            assert net.blobs["conv"].shape == (9, 3, 4, 4) and net.blobs["ip"].shape == (9, 5)
        out = net.forward(**batch(count), blobs=["ip"])
        assert out["ip"].shape == (count, 5)
        net.backward()
    np.testing.assert_array_equal(net.blobs["loss"].data, wanted)


def test_a_shape_that_does_not_fit_is_refused_and_can_be_taken_back(net, path):
    wanted = net.forward(**batch())["loss"].copy()
    net.blobs["data"].reshape(4, 1, 8, 8)
    problem = r"net.prototxt:10:1: layer 'ip' \(InnerProduct\): .*\(4, 3, 6, 6\).* parameter of shape \(5, 108\)"
    with pytest.raises(ConfigError, match=problem):
        net.reshape()
    net.blobs["data"].reshape(4, 1, 2, 2)
    with pytest.raises(ConfigError, match=r"net.prototxt:8:43: layer 'conv' .*: convolution_param.kernel_size"):
        net.run_forward()
    net.blobs["data"].reshape(4, 1, 6, 6)
    np.testing.assert_array_equal(net.forward(**batch())["loss"], wanted)


# Parameters --------------------------------------------------------------------------------------------------


def test_saving_and_loading_gives_the_same_net(net, path, tmp_path):
    net.forward(**batch())
    net.backward()
    net.save(tmp_path / "w.caffemodel")
    random.set_random_seed(9)
    other = Net(path, caffe.TRAIN)
    assert not np.array_equal(other.params["ip"][0].data, net.params["ip"][0].data)
    other.copy_from(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(other.forward(**batch())["loss"], net.forward(**batch())["loss"])
    stored = upgrade.read_net(tmp_path / "w.caffemodel")
    assert [layer.name for layer in stored.layer] == net._layer_names
    assert not stored.layer[1].blobs[0].diff
    net.save(tmp_path / "w.caffemodel", write_diff=True)
    stored = upgrade.read_net(tmp_path / "w.caffemodel")
    assert list(stored.layer[1].blobs[1].diff) == net.params["conv"][1].diff.tolist()


def test_loading_weights_that_do_not_fit_changes_nothing(net, path, tmp_path):
    Path(path).write_text(SOURCE.replace("num_output: 5", "num_output: 7"))
    Net(path, caffe.TRAIN).save(tmp_path / "w.caffemodel")
    before = net.params["conv"][0].data.copy()
    problem = r"w.caffemodel.*'ip'.*\(7, 48\).*\(5, 48\)|w.caffemodel.*'ip'.*\(5, 48\).*\(7, 48\)"
    with pytest.raises(WeightsError, match=problem):
        net.copy_from(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(net.params["conv"][0].data, before)


def test_sharing_parameters_with_another_net(net, path):
    random.set_random_seed(5)
    other = Net(path, caffe.TEST)
    other.share_with(net)
    net.params["ip"][0].data[0, 0] = 42
    assert other.params["ip"][0].data[0, 0] == 42
    data = batch(2)
    other.forward(**data)
    net.blobs["data"].data[:2], net.blobs["label"].data[:2] = data["data"], data["label"]
    net.run_forward()
    np.testing.assert_allclose(other.blobs["ip"].data, net.blobs["ip"].data[:2], rtol=1e-5)
    assert other.params["ip"][0].diff_memory is not net.params["ip"][0].diff_memory


def test_sharing_needs_equal_shapes(net, path):
    Path(path).write_text(SOURCE.replace("num_output: 5", "num_output: 7"))
    other = Net(path, caffe.TRAIN)
    with pytest.raises(ConfigError, match=r"layer 'ip' .*cannot share parameters: shapes .*\(7, 48\).*\(5, 48\)"):
        other.share_with(net)
    assert other.params["conv"][0].data_memory is not net.params["conv"][0].data_memory, "all or nothing"


def test_sharing_needs_equal_types_of_number(net):
    other = Net.from_proto(in_train(SOURCE), dtype=np.float64)
    with pytest.raises(ConfigError, match=r"layer 'conv' .*cannot share parameters: .*float64.* here, .*float32"):
        other.share_with(net)


# Values that are wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [5, -1, 1e9, float("nan")])
def test_a_label_outside_the_classes_is_named_with_its_place(net, label):
    data = batch()
    good = data["label"].copy()
    data["label"] = np.array([0, 1, label, 2])
    problem = (
        rf"net.prototxt:15:1: layer 'loss' \(SoftmaxWithLoss\): label {label:g}".replace("+", r"\+")
        + r" \(number 2 in the batch\) is outside the 5 classes 0 to 4"
    )
    with pytest.raises(DataError, match=problem):
        net.forward(**data)
    net.forward(data=data["data"], label=good)


def test_one_bad_batch_is_reported_once_even_if_two_layers_saw_it(path):
    net = Net(path, caffe.TEST)
    with pytest.raises(DataError, match=r"label 9 .* of bottom 'ip'; .* makes 'ip'"):  # not ip_ip_0_split_0
        net.forward(data=np.zeros((2, 1, 6, 6)), label=np.array([9, 9]))
    net.forward(data=np.zeros((2, 1, 6, 6)), label=np.array([0, 1]))


def test_the_first_bad_blob_is_found(net):
    net.forward(**batch())
    assert net.first_bad_blob() is None
    net.params["ip"][1].data[2] = np.inf
    net.run_forward()
    assert net.first_bad_blob() == "parameter 1 of layer 'ip' (InnerProduct)"
    net.blobs["data"].data[0] = np.nan
    assert net.first_bad_blob() == "top 'data' of layer 'in' (Input)"
