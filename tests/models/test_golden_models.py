"""Real models of other people's, of every age of Caffe: what they compute here is what they compute in Caffe."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import pytest

from pycaffe_lite.formats import weights
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import caffe_pb2, upgrade

MODELS = {
    "mtcnn_det1": ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel"),
    "mtcnn_det2": ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel"),
    "mtcnn_det3": ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
    "lenet_v1": ("lenet_everpeace/lenet.prototxt", "lenet_everpeace/lenet_iter_10000.caffemodel"),
    "cifar10_quick": (
        "cifar10_quick_simshang/cifar10_quick.prototxt",
        "cifar10_quick_simshang/cifar10_quick_iter_5000.caffemodel",
    ),
    "cifar10_full_h5": ("cifar10_bxuan/cifar10_full.prototxt", "cifar10_bxuan/cifar10_full_iter_60000.caffemodel.h5"),
    "fashion_alpha": (
        "fashion_alpha_lmdb/deploy.prototxt",
        "fashion_alpha_lmdb/snapshot/alpha_iter_10000.caffemodel",
    ),
    "samplenet": ("samplenet_omz/SampLeNet.prototxt", "samplenet_omz/SampLeNet.caffemodel"),
    "qrcode_sr": ("wechat_qrcode/sr.prototxt", "wechat_qrcode/sr.caffemodel"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_computes_what_it_does_in_caffe(shared, name):
    prototxt, trained = (shared / "models" / path for path in MODELS[name])
    golden = np.load(shared / "golden" / "models" / f"{name}.npz")
    net = Net(prototxt, caffe_pb2.TEST)
    report = net.copy_from(trained)
    assert set(report.loaded) == set(net.params) and not report.missing
    for key in golden:
        if key.startswith("input_"):
            blob = net.blobs[unquote(key[len("input_") :])]
            blob.reshape(golden[key].shape)
            blob.data[...] = golden[key]
    net.run_forward()
    compared = 0
    for key in golden:
        kind, _, blob = key.partition("_")
        if kind in ("output", "blob"):
            want, got = golden[key], net.blobs[unquote(blob)].data
            assert got.shape == want.shape, key
            wrong = np.abs(got - want) > 1e-4 * np.maximum(1, np.abs(want))
            assert not wrong.any(), f"{key}: {wrong.sum()} of {want.size} differ"
            compared += 1
    assert compared >= len(net.outputs)


def test_no_model_is_forgotten(shared):
    assert {path.stem for path in (shared / "golden" / "models").glob("*.npz")} == set(MODELS)


def test_every_real_file_of_weights_is_read_as_protobuf_reads_it(shared):
    """In place and through message objects: the same layers, shapes and numbers."""
    files = sorted((shared / "models").rglob("*.caffemodel"))
    assert len(files) > 25
    for path in files:
        expected = {}
        for layer in upgrade.read_net(path).layer:
            for i, blob in enumerate(layer.blobs):
                shape = shape_of(blob)
                numbers = blob.double_data if len(blob.double_data) else blob.data
                expected[layer.name, i] = np.array(numbers, np.float32).reshape(shape)
        with weights.opened(path) as layers:
            found = {(layer.name, i): stored.read() for layer in layers for i, stored in layer.params.items()}
        assert found.keys() == expected.keys(), path
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array, err_msg=f"{path}: {key}")


def shape_of(blob) -> tuple[int, ...]:
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(axis) for axis in legacy):
        return tuple(getattr(blob, axis) for axis in legacy)
    return tuple(blob.shape.dim)
