"""`caffe-lite extract-features`: Caffe's own features, databases and arrays of every blob, and refusals."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.cli import main
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.datum import decode_datum
from pycaffe_lite.proto import Datum

NET = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param {
        shape { dim: 3 dim: 2 dim: 4 dim: 5 } data_filler { type: "gaussian" std: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "mean" type: "Reduction" bottom: "ip" top: "mean" reduction_param { axis: 1 operation: MEAN } }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, with a net that makes its own data, and its weights."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    return tmp_path


def extract(*words: str) -> int:
    return main(["extract-features", *words])


def rows(path: str, backend: str = "LMDB") -> list[np.ndarray]:
    with open_database(path, backend) as database:
        assert database.keys() == [b"%010d" % number for number in range(len(database))]
        return [decode_datum(*entry).pixels for entry in database]


def test_as_caffes_own_tool(shared, tmp_path, monkeypatch, capsys):
    files = shared / "golden" / "files"
    monkeypatch.chdir(files)  # the net names its database from there
    out = tmp_path / "features"
    assert main(["extract_features", "feat.caffemodel", "feat.prototxt", "ip", str(out), "3", "lmdb", "CPU"]) == 0
    with open_database(out) as ours, open_database(files / "features_lmdb") as theirs:
        for (our_key, our_value), (their_key, their_value) in zip(ours, theirs, strict=True):
            assert our_key == their_key
            mine, other = Datum.FromString(our_value), Datum.FromString(their_value)
            np.testing.assert_allclose(mine.float_data, other.float_data, rtol=1e-4, atol=1e-5)
            for datum in (mine, other):
                datum.ClearField("float_data")
            assert mine == other
    lines = re.findall(r"extract_features.cpp:\d+\] (.*)", capsys.readouterr().err)
    assert lines[1:] == [
        "Extracting Features",
        "Extracted features of 12 query images for feature blob ip",
        "Successfully extracted the features!",
    ]


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_several_blobs(folder, backend, capsys):
    words = ["net.caffemodel", "net.prototxt", "conv,ip,mean", "c,i,m"]
    assert extract(*words, "2", backend) == 0
    net = caffe.Net("net.prototxt", caffe.TEST, weights="net.caffemodel")
    convs, ips, means = (rows(name, backend.upper()) for name in "cim")
    assert [len(convs), len(ips), len(means)] == [6, 6, 6]
    assert (convs[0].shape, ips[0].shape, means[0].shape) == ((2, 3, 4), (6, 1, 1), (1, 1, 1))
    weights, bias = (blob.data for blob in net.params["ip"])
    for conv, ip, mean in zip(convs, ips, means):
        np.testing.assert_allclose(ip.ravel(), weights @ conv.ravel() + bias, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mean.item(), ip.mean(), rtol=1e-4, atol=1e-5)


def test_arrays(folder, capsys):
    assert extract("net.caffemodel", "net.prototxt", "conv,mean", "conv.npy,mean.npy", "4") == 0
    assert (np.load("conv.npy").shape, np.load("mean.npy").shape) == ((12, 2, 3, 4), (12,))
    assert len({row.tobytes() for row in np.load("conv.npy")}) == 12, "rows are copied, not views of one blob"


def test_databases_that_are_there(folder, capsys):
    words = ["net.caffemodel", "net.prototxt", "ip,conv", "new,db", "1"]
    os.mkdir("db")
    assert extract(*words) == 1
    assert "db: exists already" in capsys.readouterr().err
    assert not os.path.exists("new"), "all outputs or none"
    assert extract(*words, "--force") == 0
    assert len(rows("db")) == len(rows("new")) == 3


W, N = "net.caffemodel", "net.prototxt"
REFUSED = {
    "few words": ([W, N, "ip", "db"], r"WEIGHTS NET BLOBS OUTS BATCHES .* are wanted, got net.caffemodel"),
    "blob": ([W, N, "pi", "db", "1"], "has no blob 'pi'; it has data, conv, ip, mean"),
    "outputs": ([W, N, "ip,conv", "db", "1"], "each blob needs an output of its own, got blobs ip,conv"),
    "same output": ([W, N, "ip,conv", "db,db", "1"], "each blob needs an output of its own"),
    "batches": ([W, N, "ip", "db", "all"], "BATCHES: must be a number, at least 1, got 'all'"),
    "no batches": ([W, N, "ip", "db", "0"], "BATCHES: must be .* got '0'"),
    "backend": ([W, N, "ip", "db", "1", "sqlite"], "must be lmdb or leveldb, got 'sqlite'"),
    "device": ([W, N, "ip", "db", "1", "lmdb", "TPU"], "must be CPU or GPU, got 'TPU'"),
    "no such GPU": ([W, N, "ip", "db", "1", "lmdb", "GPU", "99"], "GPU 99"),
    "weights": (["gone", N, "ip", "db", "1"], "gone: No such file"),
    "net": ([W, "gone", "ip", "db", "1"], "gone: No such file"),
    "inputs": ([W, "deploy.prototxt", "ip", "db", "1"], "deploy.prototxt: reads no data: its inputs data"),
    "nowhere": ([W, N, "ip", "nowhere/x.npy", "1"], "nowhere/x.npy: cannot be written"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_one_clear_line(folder, capsys, name):
    source = re.search(r"layer \{ name: \"data\".*?\} \} \}\n", NET, re.S)
    assert source
    deploy = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [3, 2, 4, 5] } } }\n'
    Path("deploy.prototxt").write_text(NET.replace(source[0], deploy))
    arguments, message = REFUSED[name]
    before = set(os.listdir())
    assert extract(*arguments) == 1
    err = capsys.readouterr().err
    assert re.search(f"^caffe-lite extract-features: error: .*{message}", err, re.M), err
    assert "Traceback" not in err
    assert set(os.listdir()) == before
