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


def whole_and_part(device):
    whole, part = Memory(32), Memory(8)
    part.to_host_for_writing()[:] = np.arange(8)
    part.become_part_of(whole, 16, 8)
    return whole, part


def test_a_part_is_the_whole_from_there_on_and_brings_what_it_held(device):
    whole, part = whole_and_part(device)
    assert whole.to_host()[16:24].tolist() == list(range(8)) and np.shares_memory(part.to_host(), whole.to_host())
    assert part.is_part_of(whole, 16) and list(whole.family()) == [whole, part] and part.root is whole
    part.to_device(device)
    assert whole.state is part.state is State.SYNCED and device.copies == ["in"]
    part.array_on(device)[:] = 5
    part.written_on(device)
    assert whole.to_host()[15:25].tolist() == [0, *[5] * 8, 0] and device.copies == ["in", "out"]
    whole.to_host_for_writing()[16] = 9
    assert part.state is State.AT_CPU and part.to_host()[0] == 9
    arena = CPU.zeros(48, np.float32)
    whole.place(CPU, arena[16:])
    part.to_host_for_writing()[1] = 8
    assert arena[32:34].tolist() == [9, 8]


def test_a_part_of_a_part_follows_both(device):
    whole, part = whole_and_part(device)
    inner, outer = Memory(2), Memory(64)
    inner.become_part_of(part, 3, 2)
    whole.become_part_of(outer, 16, 32)
    assert inner.to_host().tolist() == [3, 4] and outer.to_host()[35:37].tolist() == [3, 4]
    inner.to_host_for_writing()[:] = 7
    part.leave()
    assert part.to_host().tolist() == [0, 1, 2, 7, 7, 5, 6, 7] and inner.root is part
    outer.to_host_for_writing()[:] = 1
    assert inner.to_host().tolist() == [7, 7] and list(outer.family()) == [outer, whole]


def test_leaving_an_arena_keeps_what_was_written_there():
    memory, arena = Memory(3), CPU.zeros(16, np.float32)
    memory.place(CPU, arena[:3])
    arena[:3] = [1, 2, 3]  # as a run writes it
    memory.leave()
    arena[:] = 0
    assert memory.to_host().tolist() == [1, 2, 3]
