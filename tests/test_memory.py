"""Memory moves between host and device when the other side touches it, and never otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycaffe_lite.device import CPU
from pycaffe_lite.memory import Memory, State, aligned_size


class FakeDevice:
    """A device whose memory is apart from the host's, and which counts what crosses the border."""

    name = "fake"

    def __init__(self):
        self.copies: list[str] = []

    def zeros(self, count, dtype):
        return np.zeros(count, dtype)

    def copy_in(self, device_array, host):
        self.copies.append("in")
        np.copyto(device_array, host)

    def copy_out(self, host, device_array):
        self.copies.append("out")
        np.copyto(host, device_array)


@pytest.fixture
def device():
    return FakeDevice()


def test_memory_starts_uninitialised_and_empty_handed():
    memory = Memory(5)
    assert memory.state is State.UNINITIALIZED
    assert memory._host is None and memory._array is None


def test_what_the_host_reads_first_is_zeros_and_no_copy(device):
    memory = Memory(5)
    assert not memory.to_host().any()
    assert memory.state is State.AT_CPU and device.copies == []


def test_what_the_device_reads_first_is_zeros_and_no_copy(device):
    memory = Memory(5)
    memory.to_device(device)
    assert not memory.array_on(device).any()
    assert memory.state is State.AT_GPU and device.copies == []
    assert memory._host is None, "the host has not asked for an array"


def test_reading_makes_both_sides_valid_and_copies_once(device):
    memory = Memory(3)
    memory.to_host_for_writing()[:] = [1, 2, 3]
    for _ in range(3):
        memory.to_device(device)
    assert memory.state is State.SYNCED and device.copies == ["in"]
    assert memory.array_on(device).tolist() == [1, 2, 3]
    memory.to_host()
    assert memory.state is State.SYNCED and device.copies == ["in"], "the host's copy was still valid"


def test_writing_makes_the_other_side_invalid(device):
    memory = Memory(3)
    memory.to_device(device)
    memory.array_on(device)[:] = 7
    memory.written_on(device)
    assert memory.state is State.AT_GPU
    assert memory.to_host().tolist() == [7, 7, 7]
    assert memory.state is State.SYNCED and device.copies == ["out"]
    memory.to_host_for_writing()[0] = 9
    assert memory.state is State.AT_CPU
    memory.to_device(device)
    assert memory.array_on(device).tolist() == [9, 7, 7] and device.copies == ["out", "in"]


def test_another_device_gets_what_the_first_one_wrote(device):
    other, memory = FakeDevice(), Memory(2)
    memory.to_device(device)
    memory.array_on(device)[:] = 5
    memory.written_on(device)
    memory.to_device(other)
    assert memory.array_on(other).tolist() == [5, 5]
    assert (device.copies, other.copies) == (["out"], ["in"])


@pytest.mark.parametrize("on_host", [True, False])
def test_placing_keeps_what_memory_held(device, on_host):
    memory = Memory(3)
    memory.to_host_for_writing()[:] = [1, 2, 3]
    place = CPU if on_host else device
    arena = place.zeros(8, np.float32)
    memory.place(place, arena[2:5])
    assert arena.tolist() == [0, 0, 1, 2, 3, 0, 0, 0]
    assert memory.state is (State.AT_CPU if on_host else State.SYNCED)
    assert memory.to_host().tolist() == [1, 2, 3]


def test_placing_what_nobody_touched_copies_nothing(device):
    memory = Memory(3)
    memory.place(device, device.zeros(3, np.float32))
    assert memory.state is State.UNINITIALIZED and device.copies == []


def test_on_the_cpu_both_sides_are_one_array():
    memory = Memory(4)
    assert memory.array_on(CPU) is memory.to_host()
    memory.to_device(CPU)
    memory.written_on(CPU)
    assert memory.state is State.AT_CPU


@given(
    st.lists(st.sampled_from([(side, act) for side in ("host", "device") for act in ("read", "write")]), max_size=12)
)
def test_any_sequence_of_touches_copies_only_what_is_out_of_date(touches):
    device, memory = FakeDevice(), Memory(1)
    value, valid, copies = 0, set(), []  # which sides hold the value; the first to touch it holds zeros
    for number, (side, act) in enumerate(touches, 1):
        if side not in valid and valid and (side, act) != ("device", "write"):  # a plan's writes overwrite it all
            copies.append("out" if side == "host" else "in")
        valid.add(side)
        if side == "host":
            array = memory.to_host_for_writing() if act == "write" else memory.to_host()
        else:
            array = memory.array_on(device)
            if act == "read":
                memory.to_device(device)
        if act == "write":
            array[0] = value = number
            valid = {side}
            if side == "device":
                memory.written_on(device)
        assert array[0] == value
    assert device.copies == copies


@pytest.mark.parametrize(
    "count, dtype, size", [(0, "f4", 0), (1, "f4", 16), (16, "f4", 16), (17, "f4", 32), (1, "f8", 8), (9, "f8", 16)]
)
def test_aligned_size_is_whole_cache_lines(count, dtype, size):
    assert aligned_size(count, dtype) == size
