"""Memory that exists on the host, on a device, or on both, and moves only when the other side touches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import numpy as np

from .device import CPU, Device


class State(Enum):
    """Where the valid copy is (Caffe's SyncedMemory)."""

    UNINITIALIZED = "uninitialised"
    AT_CPU = "at CPU"
    AT_GPU = "at GPU"
    SYNCED = "synced"


class Moves:
    """How often the host has touched what a device holds: while it stands still, a device has all that it had."""

    count = 0


class Memory:
    """`count` elements, zero until written. On the CPU device both sides are the same array.

    It may be a part of another memory, its `whole`, from element `at` of it on. Then what it holds, and where that is
    valid, is the whole's business: wherever a part is needed, the whole is brought.
    """

    def __init__(self, count: int, dtype: Any = np.float32):
        self.count, self.dtype, self._state = int(count), np.dtype(dtype), State.UNINITIALIZED
        self.whole: Memory | None = None
        self.at = 0
        self.parts: list[Memory] = []
        self._host: np.ndarray | None = None
        self._device: Device = CPU
        self._array: Any = None
        self.first_values: Callable[[np.ndarray], None] | None = None  # writes them, when they are first wanted
        self.guard: Any = None  # on the device: while one of these numbers is not 0, what is fed is not taken
        self._feed: Any = None

    @property
    def root(self) -> Memory:
        """The outermost whole: what has a place of its own."""
        return self.whole.root if self.whole else self

    @property
    def state(self) -> State:
        """Where the valid copy is."""
        return self.root._state

    @property
    def has_array(self) -> bool:
        """Whether it has a place on the host already, or is a part of what may have one."""
        return self._host is not None or self.whole is not None

    @property
    def device(self) -> Device:
        """The device that runs read and write this memory on."""
        return self.root._device

    def family(self) -> Iterator[Memory]:
        """This memory, and all that are parts of it."""
        yield self
        for part in self.parts:
            yield from part.family()

    def is_part_of(self, whole: Memory, at: int) -> bool:
        """Whether it lies in `whole`, from its element `at` on."""
        return self.whole is whole and self.at == at

    def become_part_of(self, whole: Memory, at: int, count: int) -> None:
        """Lie in another memory from now on, with the first `count` elements; what they hold is kept."""
        held = self._give_up()
        self.count, self.whole, self.at = count, whole, at
        whole.parts.append(self)
        if held is not None:
            self.to_host_for_writing()[...] = held[:count]

    def leave(self) -> None:
        """Have an array of its own, outside of any whole or arena; what it holds is kept."""
        held = self._give_up()
        if held is not None:
            self.to_host_for_writing()[...] = held

    def _give_up(self) -> np.ndarray | None:
        """Have no array any more, in a whole or otherwise; returns what it held, if there was one."""
        root = self.root
        held = None if root._host is None and root._array is None else self.to_host().copy()
        if self.whole:
            self.whole.parts.remove(self)
        self.whole, self.at, self._host, self._array, self._state = None, 0, None, None, State.UNINITIALIZED
        return held

    def _own(self, array: Any) -> Any:
        """What is this part's of the whole's array."""
        return array[self.at : self.at + self.count]

    def place(self, device: Device, array: Any) -> None:
        """Use this array on `device` (a piece of an arena) instead of one of its own; what it holds is kept."""
        Moves.count += 1
        if self._state is not State.UNINITIALIZED:
            device.copy_in(array, self.to_host()[: array.size])
            self._state = State.AT_CPU if device is CPU else State.SYNCED
        if device is CPU:
            self._host = array
        else:
            self._device, self._array = device, array

    def array_on(self, device: Device) -> Any:
        """The flat array on `device`, made if need be, valid or not: what a plan bakes into its launches."""
        if self.whole:
            return self._own(self.whole.array_on(device))
        self.make_first_values()
        if device is CPU:
            if self._host is None:
                self._host = CPU.zeros(self.count, self.dtype)
            return self._host
        if self._array is None or self._device is not device:
            if self._state is not State.UNINITIALIZED:
                self.to_host_for_writing()  # what another device holds would be lost
            self._device, self._array = device, device.zeros(self.count, self.dtype)
        return self._array

    def make_first_values(self) -> None:
        """Write the first values, if they are not yet there."""
        if self.first_values:
            write, self.first_values = self.first_values, None
            write(self.to_host_for_writing())

    def to_host(self) -> np.ndarray:
        """The flat host array, valid for reading."""
        if self._state is State.AT_CPU and self._host is not None and self.first_values is None:
            return self._host  # as nearly always
        if self.whole:
            return self._own(self.whole.to_host())
        host = self.array_on(CPU)
        if self._state is State.AT_GPU:
            Moves.count += 1
            self._device.copy_out(host, self._array)
            self._state = State.SYNCED
        elif self._state is State.UNINITIALIZED:
            self._state = State.AT_CPU
        return host

    def to_host_for_writing(self) -> np.ndarray:
        """The flat host array; the device's copy is out of date from now on."""
        if self.whole:
            return self._own(self.whole.to_host_for_writing())
        host = self.to_host()
        if self._state is State.SYNCED:
            Moves.count += 1
        self._state = State.AT_CPU
        return host

    def feed(self, values: np.ndarray) -> None:
        """Take these values, which the host seldom reads again; where a device is to have them, they go there.

        On a GPU this returns before they have arrived; `values` may be written over at once.
        """
        if self._array is None or not self._device.asynchronous:
            self.to_host_for_writing()[: values.size] = values.reshape(-1)
            return
        self.first_values = None
        if self._feed is None or not self._feed.leads_to(self._array, values.size):
            self._feed = self._device.feed(self._array[: values.size], self.guard)
        self._feed.put(values)
        if self._state is not State.AT_GPU:
            Moves.count += 1
            self._state = State.AT_GPU

    def to_device(self, device: Device) -> None:
        """Make the array on `device` valid for reading."""
        if self.whole:
            self.whole.to_device(device)
            return
        if device is CPU:
            self.to_host()
            return
        array = self.array_on(device)
        if self._state is State.AT_CPU:
            device.copy_in(array, self.array_on(CPU))
            self._state = State.SYNCED
        elif self._state is State.UNINITIALIZED:
            self._state = State.AT_GPU

    def written_on(self, device: Device) -> None:
        """Note that a run on `device` has written this memory, or a part of it that was valid there before."""
        self.root._state = State.AT_CPU if device is CPU else State.AT_GPU


def aligned_size(count: int, dtype: Any, align: int = 64) -> int:
    """Elements of `dtype` that `count` of them take up when the next ones must start on a cache line."""
    step = align // np.dtype(dtype).itemsize
    return -(-count // step) * step
