"""Every layer against the arrays that Caffe 1.0 computed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import caffe_pb2, upgrade

FOLDER = Path(os.environ.get("CAFFE_LITE_SHARED") or Path(__file__).parents[3] / "shared") / "golden" / "layers"
NAMES = sorted(p.stem for p in FOLDER.glob("*.npz"))


def agree(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert got.size == want.size, f"{what}: {got.shape} for {want.shape}"
    got = got.reshape(want.shape)
    wrong = ~(np.abs(got - want) <= 1e-4 * np.maximum(1, np.abs(want)))
    assert not wrong.any(), f"{what}: {int(wrong.sum())} of {want.size} differ"


def numbered(arrays, kind: str):
    """The arrays kind0, kind1 ... of a case."""
    return [
        (int(key[len(kind) :]), arrays[key]) for key in arrays if key.startswith(kind) and key[len(kind) :].isdigit()
    ]


@pytest.mark.parametrize("name", NAMES or [pytest.param("", marks=pytest.mark.skip(f"no golden arrays at {FOLDER}"))])
def test_layer_agrees_with_caffe(name, device):
    arrays = np.load(FOLDER / f"{name}.npz")
    param = upgrade.read_net(FOLDER / f"{name}.prototxt")
    param.state.phase = getattr(caffe_pb2, str(arrays["phase"]))
    net = Net.from_proto(param)
    layer = net.layer_dict["l"]
    for i, value in numbered(arrays, "bottom"):
        net.blobs[f"x{i}"].data[...] = value.reshape(net.blobs[f"x{i}"].shape)
    for i, value in numbered(arrays, "param"):
        layer.blobs[i].data[...] = value
    net.run_forward()
    for i, value in numbered(arrays, "top"):
        agree(net.blobs[f"y{i}"].data, value, f"top {i}")
    for i, value in numbered(arrays, "top_diff"):
        net.blobs[f"y{i}"].diff[...] = value
    net.run_backward()
    for i, value in numbered(arrays, "bottom_diff"):
        # The layer's own bottom: where an identity Scale stands in front, x0 itself gets no gradient.
        agree(net.blobs[net.bottom_names["l"][i]].diff, value, f"gradient of bottom {i}")
    for i, value in numbered(arrays, "param_diff"):
        agree(layer.blobs[i].diff, value, f"gradient of parameter {i}")
    for i, value in numbered(arrays, "param_after"):
        agree(layer.blobs[i].data, value, f"parameter {i} after running")
