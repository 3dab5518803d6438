"""Batches on their way to a GPU: copied by a stream of their own while the kernels of the batch before compute.

    host            copies of the batch go into pinned memory A, B, A, B ...
    copy stream     A to its twin on the device, B to its twin ...
    compute stream  waits for that copy, takes the twin's values into the blob, launches the net

A buffer is filled again when the event says that its last copy is done, and its twin when its values were taken.
So the host is never more than two batches ahead, and an upload costs time only where it takes longer than the net.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .source import CudaKernel

if TYPE_CHECKING:
    from .gpu import Gpu

SLOTS = 2

take = CudaKernel(
    "take",
    "x: T*, guard: long*, guards: int, count: int -> y: T*",
    """
    for (int g = 0; g < guards; ++g) if (guard[g]) return;  // something is wrong: what it was found in stays
    y[i] = x[i];
    """,
    over="count",
    block=None,
    names={},
)


class Slot:
    """One of the buffers: pinned on the host, its twin on the device, and how far their use has come."""

    def __init__(self, feed: Feed):
        device, count, dtype = feed.device, feed.array.size, feed.array.dtype
        self.pinned, self.twin = device.pinned(count, dtype), device.zeros(count, dtype)
        self.copied, self.taken = device.event(), device.event()
        guards = 0 if feed.guard is None else feed.guard.size
        self.program = device.program(dtype)
        self.program.launch(take, (self.twin, feed.guard, guards, count, feed.array))


class Feed:
    """Brings batches to one array of a device, in turns through `SLOTS` buffers."""

    def __init__(self, device: Gpu, array: Any, guard: Any):
        self.device, self.array, self.guard = device, array, guard
        self.slots = [Slot(self) for _ in range(SLOTS)]
        self.turn = 0

    def leads_to(self, array: Any, count: int) -> bool:
        """Whether batches of so many values go to the beginning of this array."""
        address = self.device.address
        return self.array.size == count and address(self.array) == address(array)

    def put(self, values: np.ndarray) -> None:
        """Send these values on their way; whatever is launched from now on finds them in the array."""
        device, slot = self.device, self.slots[self.turn]
        self.turn = (self.turn + 1) % SLOTS
        slot.copied.synchronize()  # of the batch before the last
        slot.pinned[...] = values.reshape(-1)
        try:
            slot.taken.hold_back("copy")
            device.copy_behind(slot.twin, slot.pinned)
            slot.copied.record("copy")
            slot.copied.hold_back("compute")
            slot.program.run_eagerly()
            slot.taken.record("compute")
        except BaseException:  # Ctrl-C, between a launch and the note of it
            slot.copied.record("copy")
            slot.taken.record("compute")
            raise
