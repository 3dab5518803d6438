"""Real models of other people's, of every age of Caffe: what they compute here is what they compute in Caffe."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import pytest

from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import caffe_pb2

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
    prototxt, weights = (shared / "models" / path for path in MODELS[name])
    golden = np.load(shared / "golden" / "models" / f"{name}.npz")
    net = Net(prototxt, caffe_pb2.TEST)
    report = net.copy_from(weights)
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
