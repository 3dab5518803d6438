"""Blobs: shapes, lazily made memory, reshaping, sharing, and Caffe's limits."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.blob import Blob
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.memory import State


def test_nothing_is_allocated_before_it_is_touched():
    blob = Blob((1000, 1000, 1000), name="big")
    assert blob.count == 10**9
    assert blob.data_memory.state is blob.diff_memory.state is State.UNINITIALIZED
    assert blob.data_memory._host is None and blob.diff_memory._host is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_start_as_zeros_of_the_blobs_type(dtype):
    blob = Blob((2, 3), dtype)
    assert blob.data.shape == blob.diff.shape == (2, 3)
    assert blob.data.dtype == blob.diff.dtype == dtype
    assert not blob.data.any() and not blob.diff.any()
    assert blob.data.ctypes.data % 64 == blob.diff.ctypes.data % 64 == 0, "arrays begin on a cache line"


def test_writing_into_the_arrays_takes_effect():
    blob = Blob((2, 3))
    blob.data[1, 2], blob.diff[...] = 5, 7
    assert blob.data[1, 2] == 5 and blob.diff.sum() == 42
    assert blob.data_memory is not blob.diff_memory


def test_a_scalar_blob_holds_one_number():
    blob = Blob(())
    blob.data[...] = 3
    assert blob.count == 1 and float(blob.data) == 3


@pytest.mark.parametrize("shape", [(4,), ((4,),), ([4],), (np.int64(4),), (np.array([4]),)])
def test_reshape_takes_numbers_or_a_sequence(shape):
    blob = Blob((2,))
    blob.reshape(*shape)
    assert blob.shape == (4,) and type(blob.shape[0]) is int


def test_values_survive_a_smaller_shape_and_back():
    blob = Blob((2, 3))
    blob.data[...] = np.arange(6).reshape(2, 3)
    memory = blob.data_memory
    blob.reshape(2)
    assert blob.data.tolist() == [0, 1]
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert blob.data_memory is memory


def test_a_larger_shape_gets_new_memory():
    blob = Blob((2,))
    blob.data[...] = 1
    blob.reshape(50)
    assert not blob.data.any() and blob.diff.shape == (50,)


def test_the_net_hears_of_a_new_shape_and_only_of_that():
    blob, heard = Blob((2, 3)), []
    blob.on_reshape = lambda: heard.append(blob.shape)
    blob.reshape(2, 3)
    blob.reshape(3, 2)
    assert heard == [(3, 2)]


def test_shared_memory_is_one_array():
    owner, user = Blob((2, 3)), Blob((3, 2))
    user.share_data(owner)
    owner.data[0, 1] = 4
    user.diff[...] = 1
    assert user.data[0, 1] == 4 and not owner.diff.any()
    user.share_diff(owner)
    assert not user.diff.any()


@pytest.mark.parametrize("what", ["data", "diff"])
def test_sharing_needs_equal_counts(what):
    with pytest.raises(ConfigError, match=rf"'b' \(2, 3\) cannot share the {what} of 'a' \(7,\)"):
        getattr(Blob((2, 3), name="b"), f"share_{what}")(Blob((7,), name="a"))


@pytest.mark.parametrize(
    "shape, problem",
    [
        ((2, -1), r"shape \(2, -1\) has a negative size"),
        ((1,) * 33, "33 axes, but at most 32"),
        ((50000, 50000), "2500000000 elements, more than 2147483647"),
    ],
)
def test_shapes_that_caffe_refuses(shape, problem):
    with pytest.raises(ConfigError, match=f"blob 'x': .*{problem}"):
        Blob(shape, name="x")
    blob = Blob((2,), name="x")
    with pytest.raises(ConfigError, match=problem):
        blob.reshape(shape)
    assert blob.shape == (2,), "a refused shape changes nothing"


def test_the_four_legacy_axes():
    blob = Blob((2, 3))
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 1, 1)
    with pytest.raises(ConfigError, match="5 axes, so it has no num/channels/height/width"):
        Blob((1,) * 5).num  # noqa: B018


def test_repr_says_shape_and_state():
    blob = Blob((2, 3), name="ip")
    assert repr(blob) == "<Blob 'ip' 2 3 (6) float32, data uninitialised>"
