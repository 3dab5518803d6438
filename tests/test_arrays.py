"""Arrays of other libraries into blobs, and blobs as arrays of other libraries."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.arrays import as_numbers, is_on_the_host
from pycaffe_lite.blob import Blob
from pycaffe_lite.errors import ConfigError


class Spoken:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __dlpack__(self, **how):
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnGpu:
    """As an array of cupy looks from outside: numpy may not touch it."""

    def __init__(self, array: np.ndarray):
        self._array = array

    def __dlpack_device__(self):
        return 2, 0

    def get(self):
        return self._array.copy()

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")


class Tensor:
    """As a tensor of torch looks from outside, one of bfloat16 that wants gradients on a GPU."""

    def __init__(self, array: np.ndarray, log: list[str], dtype: str = "torch.bfloat16"):
        self._array, self._log, self.dtype = array, log, dtype

    def _again(self, what: str, dtype: str | None = None):
        self._log.append(what)
        return Tensor(self._array, self._log, dtype or self.dtype)

    def detach(self):
        return self._again("detach")

    def cpu(self):
        return self._again("cpu")

    def float(self):
        return self._again("float", "torch.float32")

    def __array__(self, dtype=None, copy=None):
        if self._log != ["detach", "cpu", "float"]:
            raise TypeError(f"got unsupported ScalarType BFloat16 after {self._log}")
        return self._array


def values() -> np.ndarray:
    return np.arange(6, dtype=np.float32).reshape(2, 3)


def test_numpy_arrays_are_read_where_they_are():
    array = values()
    assert as_numbers(array, "x") is array
    assert np.shares_memory(as_numbers(Spoken(array), "x"), array)


@pytest.mark.parametrize("wrap", [list, Spoken, OnGpu, lambda array: Tensor(array, []), Blob.__array__])
def test_arrays_of_any_library_are_taken(wrap):
    source = Blob((2, 3))
    source.data[...] = values()
    given = source if wrap is Blob.__array__ else wrap(values())
    blob = Blob((2, 3))
    blob.data = given
    np.testing.assert_array_equal(blob.data, values())


def test_where_an_array_is():
    assert is_on_the_host(values()) and is_on_the_host([1]) and not is_on_the_host(OnGpu(values()))


@pytest.mark.parametrize(
    "given, problem",
    [
        ("text", "^weights must be numbers, got an array of <U4"),
        (object(), "^weights must be numbers, got an array of object"),
        ([[1], [1, 2]], "^weights is no array of numbers but a list: "),
        (np.zeros(2, [("a", int)]), "^weights must be numbers"),
        (np.array(["2020-01-01"], "datetime64[D]"), "^weights must be numbers, got an array of datetime64"),
    ],
)
def test_what_is_no_array_of_numbers(given, problem):
    with pytest.raises(ConfigError, match=problem):
        as_numbers(given, "weights")


def test_assigning_to_a_blob_copies_and_needs_its_shape():
    blob, array = Blob((2, 3), name="ip"), values()
    blob.data = array
    blob.diff = array[:, ::-1].astype(np.float16)
    array[...] = 9
    np.testing.assert_array_equal(blob.data, values())
    np.testing.assert_array_equal(blob.diff, values()[:, ::-1])
    blob.data *= 2
    np.testing.assert_array_equal(blob.data, 2 * values())
    with pytest.raises(ConfigError, match=r"blob 'ip' has shape \(2, 3\), but the diff given has shape \(3, 2\)$"):
        blob.diff = values().T


def test_a_blob_is_an_array_without_a_copy():
    blob = Blob((2, 3), name="ip")
    blob.data = values()
    for view in (np.asarray(blob), np.from_dlpack(blob)):
        assert np.shares_memory(view, blob.data) and view.shape == (2, 3)
    np.testing.assert_array_equal(np.add(blob, 1), values() + 1)
    assert blob.__dlpack_device__() == (1, 0)
    np.asarray(blob)[1, 2] = 42
    assert blob.data[1, 2] == 42


def test_a_blob_is_copied_where_that_is_asked_for():
    blob = Blob((2, 3), name="ip")
    assert not np.shares_memory(np.array(blob), blob.data)
    assert np.asarray(blob, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="blob 'ip' holds float32: as float64 it must be copied"):
        np.asarray(blob, np.float64, copy=False)


def test_a_blob_on_a_gpu_is_handed_on_where_it_is(monkeypatch):
    emulator = pytest.importorskip("emulator")
    if not emulator.COMPILER:
        pytest.skip("no g++, which the emulated GPU compiles with")
    monkeypatch.setattr(emulator.DeviceArray, "__dlpack__", lambda self, **how: (self, how), raising=False)
    monkeypatch.setattr(emulator.DeviceArray, "__dlpack_device__", lambda self: (2, 0), raising=False)
    device, blob = emulator.EmulatedGpu(), Blob((2, 3))
    blob.data_memory.array_on(device)
    blob.data = values()
    shared, how = blob.__dlpack__(stream=1)
    assert blob.__dlpack_device__() == (2, 0) and how == {"stream": 1} and shared.shape == (2, 3)
    np.testing.assert_array_equal(shared.get(), values())
    shared.set(3 * values())  # by the other library
    np.testing.assert_array_equal(blob.data, 3 * values())
    np.testing.assert_array_equal(np.asarray(blob), 3 * values())
