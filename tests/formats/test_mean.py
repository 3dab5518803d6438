"""Mean images: read from what people have, written as Caffe's own tool writes them, refused when they are not."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pycaffe_lite.errors import DataError
from pycaffe_lite.formats.mean import read_mean, write_mean
from pycaffe_lite.proto import BlobProto

MEAN = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


def blob(**fields) -> bytes:
    shape = fields.pop("shape", ())
    made = BlobProto(**fields)
    made.shape.dim[:] = shape
    return made.SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        blob(num=1, channels=3, height=4, width=5, data=MEAN.ravel()),
        blob(shape=(1, 3, 4, 5), data=MEAN.ravel()),
        blob(shape=(3, 4, 5), double_data=MEAN.ravel()),
    ],
    ids=["legacy", "shape", "double"],
)
def test_every_kind_of_binaryproto_is_read(tmp_path, content):
    (tmp_path / "mean.binaryproto").write_bytes(content)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.binaryproto"), MEAN)


@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
def test_what_is_written_is_read(tmp_path, name):
    write_mean(tmp_path / name, MEAN)
    np.testing.assert_array_equal(read_mean(tmp_path / name), MEAN)
    assert os.listdir(tmp_path) == [name]


def test_files_are_written_as_caffe_writes_them(shared, tmp_path):
    theirs = shared / "golden" / "files" / "mean.binaryproto"
    write_mean(tmp_path / "mean.binaryproto", read_mean(theirs))
    assert (tmp_path / "mean.binaryproto").read_bytes() == theirs.read_bytes()


def npy_header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"text", "not an .npy file"),
        ("a.npy", npy_header("(3, 40000, 40000)"), "not an .npy file"),  # 19 GB announced in 128 bytes
        ("a.binaryproto", b"\xff\xff\xff\xff", "truncated"),
        ("a.binaryproto", b"", "empty"),
        ("a.binaryproto", b"\x89PNG\r\n\x1a\n0000", "a PNG image"),
        ("a.binaryproto", blob(num=1, channels=2, data=[1]), r"shape \(1, 2, 0, 0\) needs 0 values, but there are 1"),
        ("a.binaryproto", blob(shape=(2,), data=[1, 2]), r"\(C, H, W\), this has \(2,\)"),
        ("a.binaryproto", blob(shape=(-1, -1, 2), data=[1, 2]), "negative"),
    ],
)
def test_what_is_no_mean_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as info:
        read_mean(tmp_path / name)
    assert name in str(info.value)


def test_arrays_that_are_no_images_are_refused(tmp_path):
    np.save(tmp_path / "mean.npy", np.array(["a"]))
    with pytest.raises(DataError, match=r"not an .npy file of numbers, but of <U1"):
        read_mean(tmp_path / "mean.npy")
    with pytest.raises(DataError, match="no such mean file"):
        read_mean(tmp_path / "nowhere.npy")
    with pytest.raises(DataError, match=r"shape \(C, H, W\), got \(2, 2\)"):
        write_mean(tmp_path / "mean.npy", np.zeros((2, 2)))
