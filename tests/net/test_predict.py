"""predict, summary and reprs: what a notebook asks of a net."""

from __future__ import annotations

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import ConfigError

NET = """
name: "small"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 dim: 5 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
LOSS = """
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "acc" type: "Accuracy" bottom: "x" bottom: "label" top: "acc" }
layer { name: "copy" type: "Power" bottom: "x" top: "copy" }
"""


@pytest.fixture
def net() -> caffe.Net:
    return caffe.Net.from_prototxt(NET)


def samples(count: int, size: int = 5) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 2, size, size)).astype(np.float32)


def one_by_one(net: caffe.Net, x: np.ndarray) -> np.ndarray:
    net.blobs["x"].reshape(1, *x.shape[1:])
    return np.concatenate([net.forward(x=row[None])["prob"].copy() for row in x])


@pytest.mark.parametrize("rows", [1, 3, 4, 10])
@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_any_number_of_samples(net, rows, batch_size):
    x = samples(rows)
    got = net.predict(x, batch_size=batch_size)
    assert got.shape == (rows, 2) and got.dtype == np.float32
    np.testing.assert_allclose(got, one_by_one(caffe_twin(net), x), rtol=1e-5)


def caffe_twin(net: caffe.Net) -> caffe.Net:
    twin = caffe.Net.from_prototxt(NET)
    twin.share_with(net)
    return twin


def test_samples_of_another_size(net):
    x = samples(6, 9)
    np.testing.assert_allclose(net.predict(x), one_by_one(caffe_twin(net), x), rtol=1e-5)


def test_the_nets_batch_is_remembered_until_somebody_reshapes(net):
    sizes = []
    net.before_forward(lambda index: sizes.append(net.blobs["x"].shape[0]) if index == 0 else None)
    for rows in (10, 1, 9):
        net.predict(samples(rows))
    assert sizes == [4, 4, 2, 1, 4, 4, 1]
    net.blobs["x"].reshape(3, 2, 5, 5)
    sizes.clear()
    net.predict(samples(6))
    assert sizes == [3, 3]


def test_results_are_copies(net):
    first = net.predict(samples(4))
    kept = first.copy()
    net.predict(2 * samples(4))
    np.testing.assert_array_equal(first, kept)


def test_blobs_that_are_asked_for(net):
    x = samples(5)
    got = net.predict(x=x, outputs=["conv", "prob"])
    assert {name: array.shape for name, array in got.items()} == {"conv": (5, 3, 3, 3), "prob": (5, 2)}
    assert list(net.predict({"x": x}, outputs=["pool"])) == ["pool"]


def test_what_has_no_rows_is_averaged_over_samples():
    net = caffe.Net.from_prototxt(LOSS)
    label = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    x = np.eye(3)[label]
    x[[1, 8]] = 1 - x[[1, 8]]  # these two are wrong
    got = net.predict(x=x, label=label)
    assert got["acc"] == pytest.approx(7 / 9) and got["acc"].shape == ()
    np.testing.assert_array_equal(got["copy"], x)


@pytest.mark.parametrize(
    "call, problem",
    [
        (lambda n: n.predict(), "inputs are x, got none"),
        (lambda n: n.predict(y=samples(1)), "inputs are x, got y"),
        (lambda n: n.predict(samples(1), x=samples(1)), "by position or by name, not both"),
        (
            lambda n: n.predict(samples(1)[0]),
            r"must have 4 axes.*\(4, 2, 5, 5\).*array\[None\], of shape \(1, 2, 5, 5\)",
        ),
        (lambda n: n.predict(samples(0)), r"got \(0, 2, 5, 5\)"),
        (lambda n: n.predict(samples(1), batch_size=0), "batch_size must be a number of at least 1, got 0"),
        (lambda n: n.predict(samples(1), outputs=["porb"]), "no blob 'porb'; did you mean 'prob'"),
        (lambda n: n.predict(["a"]), "input 'x' must be numbers"),
        (lambda n: n.predict(np.zeros((1, 3, 5, 5))), "bottom shape .* parameter of shape"),
    ],
)
def test_what_does_not_fit_is_explained(net, call, problem):
    with pytest.raises(ConfigError, match=problem):
        call(net)
    assert net.predict(samples(4)).shape == (4, 2), "and can be put right"


def test_two_inputs_want_names():
    net = caffe.Net.from_prototxt(LOSS)
    with pytest.raises(ConfigError, match=r"name the inputs, which are x, label: predict\(name=array\)"):
        net.predict(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match=r"same number of rows.*x 2, label 3"):
        net.predict(x=np.zeros((2, 3)), label=np.zeros(3))


def test_a_net_that_reads_files_has_no_inputs():
    net = caffe.Net.from_prototxt(
        'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 } } }'
    )
    with pytest.raises(ConfigError, match="has no inputs, its data layers read files; `caffe-lite deploy`"):
        net.predict(np.zeros(2))


# What is shown -----------------------------------------------------------------------------------------------


def test_summary_is_a_table_of_layers(net):
    lines = str(net.summary()).splitlines()
    assert lines[0] == "small (TEST)" and repr(net.summary()) == str(net.summary())
    assert lines[3].split() == ["conv", "Convolution", "4x3x3x3", "57", "1.944", "k", "3.996", "k", "432", "B"]
    assert "parameters: 65" in lines
    net.blobs["x"].reshape(1, 2, 5, 5)
    net.reshape()
    assert "1x3x3x3" in str(net.summary())


def test_a_notebook_shows_the_table(net):
    shown = net._repr_html_()
    assert shown == net.summary()._repr_html_() and shown.count("<tr>") == 7 and "<td" in shown
    odd = caffe.Net.from_prototxt('name: "<b>" ' + NET.replace('name: "small"', ""))
    assert "<b>" not in odd._repr_html_() and "&lt;b&gt;" in odd._repr_html_()


def test_reprs_tell_what_one_wants_to_know(net):
    assert repr(net.layers[1]) == "<Convolution layer 'conv': x -> conv; parameters 3x2x3x3, 3>"
    assert repr(net.layers[0]) == "<Input layer 'in': x>"
    net.forward()
    assert repr(net.blobs["prob"]) == "<Blob 'prob' 4 2 (8) float32, data at CPU>"
    assert repr(net.params).startswith("{'conv': [<Blob 'conv[0]' 3 2 3 3 (54) float32")


def test_help_tells_of_everything(net):
    import pydoc

    told = pydoc.plain(pydoc.render_doc(net))
    for name in ("blobs", "params", "net.lock", "predict", "forward_all", "from_prototxt", "outputs"):
        assert name in told


# From text and files -----------------------------------------------------------------------------------------


def test_from_prototxt_takes_a_file_or_its_text(net, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    for given in (NET, tmp_path / "net.prototxt", str(tmp_path / "net.prototxt"), NET.replace("\n", " ")):
        assert repr(caffe.Net.from_prototxt(given)) == repr(net)
    net.save(tmp_path / "w.caffemodel")
    made = caffe.Net.from_prototxt(NET, caffe.TRAIN, weights=tmp_path / "w.caffemodel", dtype=np.float64)
    assert made.phase == caffe.TRAIN and made.blobs["x"].dtype == np.float64
    np.testing.assert_allclose(made.predict(samples(3)), net.predict(samples(3)), rtol=1e-4)


@pytest.mark.parametrize(
    "given, problem",
    [
        ("no_such.prototxt", "no_such.prototxt: No such file"),
        ('layer { name: "x" tpye: "ReLU" }', r"<string>:1:19: .*tpye.*did you mean 'type'"),
        ("a\nb", "<string>:1"),
    ],
)
def test_what_is_no_net(given, problem):
    with pytest.raises(caffe.PrototxtError, match=problem):
        caffe.Net.from_prototxt(given)
