"""caffe.io: arrays as Caffe's messages and back, as pycaffe's users expect, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.errors import CaffeError
from pycaffe_lite.proto import caffe_pb2

RNG = np.random.default_rng(0)


def test_a_blob_of_four_legacy_axes():
    blob = caffe_pb2.BlobProto(num=2, channels=1, height=3, width=2, data=range(12), diff=range(12, 24))
    array = caffe.io.blobproto_to_array(blob)
    np.testing.assert_array_equal(array, np.arange(12).reshape(2, 1, 3, 2))
    assert array.dtype == np.float64
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True).ravel(), np.arange(12, 24))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (1, 2, 3, 4), (2, 1, 2, 1, 3)])
def test_a_blob_of_any_shape_there_and_back(shape):
    values, gradients = RNG.normal(size=shape), RNG.normal(size=shape)
    blob = caffe.io.array_to_blobproto(values, gradients)
    assert (tuple(blob.shape.dim), len(blob.data), len(blob.double_data)) == (shape, values.size, 0)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values.astype(np.float32))
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, True), gradients.astype(np.float32))
    assert not caffe.io.array_to_blobproto(values).diff


def test_integers_and_strided_arrays_are_taken():
    array = np.arange(24, dtype=np.int64).reshape(4, 6)[::2, ::-1]
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(caffe.io.array_to_blobproto(array)), array)
    datum = caffe.io.array_to_datum(array.reshape(1, 2, 6).astype(np.uint8)[:, :, ::2])
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum)[0], array[:, ::2])


def test_a_message_of_somebody_elses_class_is_read():
    # protoc's own module has other classes for the same bytes; a BlobProto of another pool stands for it.
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.BlobProto"))
    blob = theirs.FromString(caffe.io.array_to_blobproto(np.eye(2)).SerializeToString())
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), np.eye(2))


def test_lists_of_arrays():
    arrays = [RNG.normal(size=shape).astype(np.float32) for shape in [(2, 3), (1, 1, 2, 2), (4,)]]
    data = caffe.io.arraylist_to_blobprotovector_str(arrays)
    assert isinstance(data, bytes)
    for back, array in zip(caffe.io.blobprotovector_str_to_arraylist(data), arrays, strict=True):
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32])
def test_datums_there_and_back(dtype):
    array = RNG.integers(0, 256, (3, 4, 5)).astype(dtype)
    datum = caffe.io.array_to_datum(array, label=7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 7)
    assert bool(datum.data) == (dtype == np.uint8)
    back = caffe.io.datum_to_array(datum)
    assert back.dtype == (np.uint8 if dtype == np.uint8 else np.float64)
    np.testing.assert_array_equal(back, array)
    back += 1  # it is the caller's own
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), array)


def test_a_datum_without_label_has_none():
    assert not caffe.io.array_to_datum(np.zeros((1, 2, 2))).HasField("label")
    assert caffe.io.array_to_datum(np.zeros((1, 2, 2)), 0).HasField("label")
    assert caffe.io.array_to_datum(np.zeros((1, 2, 2)), np.int64(3)).label == 3


def test_an_encoded_datum_is_decoded():
    image = RNG.integers(0, 256, (4, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    datum = caffe_pb2.Datum(data=file.getvalue(), encoded=True)
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), image[:, :, ::-1].transpose(2, 0, 1))


REFUSED = {
    "no shape": (lambda: caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=range(10))), "needs 1 values, .* 10"),
    "too few": (
        lambda: caffe.io.blobproto_to_array(caffe_pb2.BlobProto(num=1, channels=2, height=1, width=1, data=[1])),
        "needs 2 values, .* 1",
    ),
    "no diff": (lambda: caffe.io.blobproto_to_array(caffe.io.array_to_blobproto(np.eye(2)), True), "has no diff"),
    "bytes": (lambda: caffe.io.blobproto_to_array(b"\0"), r"takes a BlobProto, got bytes; parse it .*FromString"),
    "another message": (lambda: caffe.io.blobproto_to_array(caffe_pb2.Datum()), "takes a BlobProto, got Datum"),
    "no datum": (lambda: caffe.io.datum_to_array(b""), r"takes a Datum, got bytes; parse it .*Datum.FromString"),
    "no arrays": (lambda: caffe.io.arraylist_to_blobprotovector_str(3), "takes a list of arrays, got int"),
    "ragged": (lambda: caffe.io.array_to_blobproto([[1, 2], [3]]), "arr is no array of numbers but a list"),
    "diff shape": (lambda: caffe.io.array_to_blobproto(np.eye(2), np.eye(3)), r"diff: .*\(2, 2\), got \(3, 3\)"),
    "text": (lambda: caffe.io.array_to_blobproto(np.array(["a"])), "arr must be numbers, got an array of <U1"),
    "complex": (lambda: caffe.io.array_to_blobproto(np.array([1j])), "got an array of complex128"),
    "vector": (lambda: caffe.io.blobprotovector_str_to_arraylist(b"\xff\xff"), "not a BlobProtoVector"),
    "flat datum": (lambda: caffe.io.array_to_datum(np.zeros((2, 2))), r"\(channels, height, width\), got \(2, 2\)"),
    "label": (lambda: caffe.io.array_to_datum(np.zeros((1, 2, 2)), 1.5), r"label: .* got 1.5"),
    "big label": (lambda: caffe.io.array_to_datum(np.zeros((1, 2, 2)), 2**40), "label: .* 32 bits"),
    "datum": (
        lambda: caffe.io.datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=2, data=b"abc")),
        r"3 bytes, .*\(1, 2, 2\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_such_thing_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(CaffeError, match=message) as info:
        call()
    assert isinstance(info.value, ValueError), "pycaffe raises ValueErrors here"


def test_old_names_and_modules_that_scripts_reach_through_caffe_io():
    assert caffe.io.caffe_pb2 is caffe_pb2
    assert caffe.io.arraylist_to_blobprotovecor_str is caffe.io.arraylist_to_blobprotovector_str
    with pytest.raises(AttributeError, match="no_such_name"):
        caffe.io.no_such_name  # noqa: B018


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.transform", None)  # what importing it then does: ImportError
    with pytest.raises(AttributeError, match="pip install scikit-image"):
        caffe.io.resize  # noqa: B018


def test_importing_caffe_io_is_light():
    code = "import pycaffe_lite.io, sys; print([m for m in ('numba', 'PIL', 'h5py', 'skimage') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
