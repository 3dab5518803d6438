"""A small set of data kept whole on a GPU: its batches are gathered there, by a counter that lies there too."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import fetch, put
from .source import CudaKernel

gather = CudaKernel(
    "gather",
    "rows: T*, labels: T*, place: long*, guard: long*, guards: int, entries: int, batch: int, size: int,"
    " label_size: int -> data: T*, label: T*",
    """
    for (int g = 0; g < guards; ++g) if (guard[g]) return;  // something is wrong: the batch it was found in stays
    const int width = size + label_size, row = i / width, j = i % width;
    const long long entry = (place[0] + place[1] + row) % entries;
    if (j < size) data[(long long)row * size + j] = rows[entry * size + j];
    else label[row * label_size + j - size] = labels[entry * label_size + j - size];
    """,
    over="batch * (size + label_size)",
    block=None,
    names={},
)

next_place = CudaKernel(
    "next_place", "batch: int -> place: long*", "place[0] += batch;", over="1", block=None, names={}
)


class KeptData:
    """All transformed entries of a database, in the order in which they are used."""

    def __init__(self, device: Any, dtype: Any, rows: np.ndarray, labels: np.ndarray):
        self.rows, self.labels = (device.upload(array.astype(dtype, copy=False)) for array in (rows, labels))
        self.place = device.upload(np.zeros(2, np.int64))  # samples handed out; where the first one was taken

    def move_to(self, sample: int, skip: int) -> None:
        """Go on behind so many samples, the first of which was entry number `skip`."""
        put(self.place, (sample, skip))

    @property
    def sample(self) -> int:
        """How many samples were handed out."""
        return int(fetch(self.place)[0])

    def record(self, guard: Any, batch: int, data: Any, label: Any) -> None:
        """Record how the next batch gets into these arrays; there may be none for labels."""
        entries, size = len(self.rows), self.rows.size // len(self.rows)
        label_size = 0 if label is None else self.labels.size // entries
        guards = 0 if guard is None else guard.size
        gather(self.rows, self.labels, self.place, guard, guards, entries, batch, size, label_size, data, label)
        next_place(batch, self.place)
