"""`caffe-lite show` on every kind of file that Caffe writes, and on files that are none."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.cli import main
from pycaffe_lite.formats import blobproto
from pycaffe_lite.proto import BlobProto, Datum, NetParameter, SolverParameter, SolverState
from pycaffe_lite.proto.text import parse


def shown(capsys, path, *words):
    assert main(["show", str(path), *words]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys, path):
    assert main(["show", str(path)]) == 1
    return capsys.readouterr().err


def test_caffemodel_short_and_full(tmp_path, capsys):
    net = NetParameter(name="n")
    layer = net.layer.add(name="ip", type="InnerProduct")
    layer.inner_product_param.num_output = 3
    layer.blobs.append(blobproto.from_array(np.arange(12, dtype=np.float32).reshape(3, 4)))
    layer.blobs.append(blobproto.from_array(np.array([1, np.nan, 3], np.float32)))
    path = tmp_path / "a.caffemodel"
    path.write_bytes(net.SerializeToString())
    lines = shown(capsys, path)
    assert lines == [
        "# NetParameter", 'name: "n"', "layer {", '  name: "ip"', '  type: "InnerProduct"',
        "  blobs {", "    # 3x4: 12 values, min 0, max 11, mean 5.5", "  }",
        "  blobs {", "    # 3: 3 values (1 NaN or infinite), min 1, max 3, mean 2", "  }",
        "  inner_product_param {", "    num_output: 3", "  }", "}",
    ]  # fmt: skip
    full = parse("\n".join(shown(capsys, path, "--full")), NetParameter())
    assert list(full.layer[0].blobs[0].data) == list(range(12))


@pytest.mark.parametrize(
    "message, line",
    [
        (SolverState(iter=7, learned_net="a.caffemodel", current_step=2), 'learned_net: "a.caffemodel"'),
        (blobproto.from_array(np.ones((1, 2, 3))), "# 1x2x3: 6 values, min 1, max 1, mean 1"),
        (Datum(channels=1, height=3, width=3, data=bytes(range(9)), label=4), "# data: 9 values, min 0, max 8, mean 4"),
        (Datum(channels=1, float_data=range(9)), "# float_data: 9 values, min 0, max 8, mean 4"),
        (Datum(data=b"\xff\xd8\xff" + bytes(99), encoded=True), "# data: a JPEG image of 102 bytes"),
        (SolverParameter(net="x", base_lr=0.1, max_iter=3), "base_lr: 0.1"),
        (BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2], diff=[3, 5]),
         "# 1x1x1x2: 2 values, min 1, max 2, mean 1.5; diff: 2 values, min 3, max 5, mean 4"),
    ],
)  # fmt: skip
def test_messages_are_known_by_what_they_hold(tmp_path, capsys, message, line):
    path = tmp_path / "file"
    path.write_bytes(message.SerializeToString())
    lines = shown(capsys, path)
    assert lines[0] == f"# {message.DESCRIPTOR.name}"
    assert line in lines


def test_the_shared_models(shared, capsys):
    models = shared / "models"
    lines = shown(capsys, models / "lenet_everpeace" / "lenet_iter_10000.caffemodel")
    assert lines.count("  blobs {") == 8
    assert "    # 20x1x5x5: 500 values, min -0.497358, max 0.523299, mean 0.0310495" in lines
    assert "iter: 10000" in shown(capsys, models / "lenet_everpeace" / "lenet_iter_10000.solverstate")
    pytest.importorskip("h5py")
    lines = shown(capsys, models / "cifar10_bxuan" / "cifar10_quick_iter_5000.solverstate.h5")
    assert "/iter: int32 1, 5000" in lines
    assert "/learned_net: 'examples/cifar10/cifar10_quick_iter_5000.caffemodel.h5'" in lines


def test_databases(shared, capsys):
    files = shared / "golden" / "files"
    lines = shown(capsys, files / "images_lmdb", "--limit", "2")
    assert lines[:2] == ["# LMDB with 14 entries", "# 0: 00000000_img_00.png"]
    assert lines.count("width: 24") == 2
    assert "# data: a PNG image of 1,262 bytes" in shown(capsys, files / "images_leveldb_png", "--limit", "1")


def test_arrays(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.eye(2))
    assert shown(capsys, tmp_path / "a.npy", "--full") == [
        "array: float64 2x2, 4 values, min 0, max 1, mean 0.5", "[[1. 0.]", " [0. 1.]]",
    ]  # fmt: skip
    np.savez(tmp_path / "w.npz", **{"conv/1/0": np.zeros((2, 3), np.float32)})
    assert shown(capsys, tmp_path / "w.npz") == ["conv/1/0: float32 2x3, 6 values, min 0, max 0, mean 0"]


def test_text_is_printed_as_it_is(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text('name: "n"  # mine\n')
    assert shown(capsys, path) == ['name: "n"  # mine']


def test_files_that_cannot_be_shown(tmp_path, capsys):
    assert "No such file" in refused(capsys, tmp_path / "gone")
    (tmp_path / "empty").write_bytes(b"")
    assert "the file is empty" in refused(capsys, tmp_path / "empty")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert "this is a PNG image" in refused(capsys, tmp_path / "a.png")
    (tmp_path / "noise").write_bytes(b"\x07\x01\x02")
    assert "not a binary message, or a damaged one: byte 0" in refused(capsys, tmp_path / "noise")
    whole = SolverState(iter=7, learned_net="a" * 50).SerializeToString()
    (tmp_path / "cut").write_bytes(whole[:-3])
    assert "announces 50 bytes, of which 47 are there" in refused(capsys, tmp_path / "cut")
    (tmp_path / "huge").write_bytes(
        BlobProto(num=1, channels=1, height=99999, width=99999, data=[1]).SerializeToString()
    )
    assert "needs 9,999,800,001 values, but there are 1" in refused(capsys, tmp_path / "huge")


@pytest.mark.parametrize("cut", [20, 60, 100])
def test_damaged_arrays(tmp_path, capsys, cut):
    np.save(tmp_path / "a.npy", np.arange(50.0))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:cut] + b"{" + whole[cut + 1 :])
    assert "not an .npy file of numbers, or a damaged one" in refused(capsys, tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array(["text"]))
    assert "holds <U4, not numbers" in refused(capsys, tmp_path / "b.npy")


def test_strings_that_are_no_text(tmp_path, capsys):
    state = SolverState(iter=7, learned_net="caf?.caffemodel").SerializeToString().replace(b"?", b"\xe9")
    (tmp_path / "s.solverstate").write_bytes(state)
    assert shown(capsys, tmp_path / "s.solverstate")[2] == 'learned_net: "caf\\351.caffemodel"'
