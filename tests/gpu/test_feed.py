"""Batches go to the device in the background: nothing is overwritten or read too early, and tests would notice."""

from __future__ import annotations

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu
from streams import EmulatedEvent

from pycaffe_lite import ops
from pycaffe_lite.backend.gpu.device import CupyGpu
from pycaffe_lite.kernel import recording
from pycaffe_lite.memory import Memory, State

pytestmark = pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")


class Sums:
    """A batch is fed, then added up on the device, often, without the host looking."""

    def __init__(self, gpu):
        self.gpu, self.array, self.sum = gpu, gpu.zeros(6, np.float32), gpu.zeros(6, np.float32)
        self.feed, self.program = gpu.feed(self.array, None), gpu.program(np.float32)
        with recording(self.program):
            ops.add_to(self.array, 6, self.sum)

    def run(self, batches: int) -> np.ndarray:
        values = np.empty(6, np.float32)
        for batch in range(batches):
            values[...] = 10**batch  # the host's own array, written over at once
            self.feed.put(values)
            self.program.run()
        return self.sum.get()


@pytest.mark.parametrize("kind", [EmulatedGpu, CupyGpu])
def test_every_batch_arrives_once_and_in_its_turn(nvidia, kind):
    assert Sums(kind()).run(7).tolist() == [1111111] * 6


@pytest.mark.parametrize(
    "forgotten, text",
    [
        (("synchronize",), "pinned memory was written to while a copy of it may be on its way"),
        (("hold_back", "compute"), "a kernel uses memory whose copy it has not waited for"),
        (("hold_back", "copy"), "a copy goes to memory that the compute stream may still be reading"),
    ],
)
def test_whoever_forgets_to_wait_is_told(monkeypatch, forgotten, text):
    name, *stream = forgotten
    honest = getattr(EmulatedEvent, name)
    monkeypatch.setattr(EmulatedEvent, name, lambda self, *given: None if [*given] == stream else honest(self, *given))
    with pytest.raises(RuntimeError, match=text):
        Sums(EmulatedGpu()).run(4)


def test_what_a_guard_holds_back_is_not_taken():
    gpu = EmulatedGpu()
    array, guard = gpu.zeros(3, np.float32), gpu.zeros(2, np.int64)
    feed = gpu.feed(array, guard)
    feed.put(np.ones(3))
    guard.set(np.array([0, 5]))
    feed.put(np.full(3, 2))
    assert array.get().tolist() == [1, 1, 1]
    guard.set(np.array([0, 0]))
    feed.put(np.full(3, 3))
    assert array.get().tolist() == [3, 3, 3]


def test_memory_is_fed_where_it_lies():
    gpu, memory = EmulatedGpu(), Memory(4)
    memory.feed(np.arange(4))  # of the host alone
    assert memory.state is State.AT_CPU and memory.to_host().tolist() == [0, 1, 2, 3]
    memory.to_device(gpu)
    memory.feed(np.arange(4.0) + 5)
    assert memory.state is State.AT_GPU and memory.to_host().tolist() == [5, 6, 7, 8]
    memory.feed(np.array([1.0, 2.0]))  # a smaller batch
    assert memory.to_host().tolist() == [1, 2, 7, 8]
