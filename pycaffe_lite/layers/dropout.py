"""Dropout: in TRAIN each value is dropped with probability dropout_ratio, the others are scaled up."""

from __future__ import annotations

import numpy as np

from .. import ops, random
from ..kernel import kernel
from ..layer import Layer, Shapes
from ..proto import caffe_pb2
from ..random import philox


@kernel("x: T*, key: long*, state: long*, threshold: int, scale: T, count: int -> y: T*", work="24")
def drop(i, x, key, state, threshold, scale, count, y):  # type: ignore[no-untyped-def]
    """y = x * scale where 31 random bits of (key, counter, i) are at least the threshold, else 0."""
    y[i] = x[i] * scale if philox(key[0], state[0], i) >> 1 >= threshold else x[i] * 0


drop.cpu("elements", "drop")
drop.cuda("y[i] = (int)(philox(key[0], state[0], i) >> 1) >= threshold ? x[i] * scale : x[i] * 0;")


@kernel("step: int -> state: long*", over="1")
def advance(i, step, state):  # type: ignore[no-untyped-def]
    """Move the counter on, so that the next pass draws other numbers."""
    state[0] += step


advance.cuda("state[0] += step;")


class Dropout(Layer, type="Dropout", param="dropout_param"):
    """y = x * mask / (1 - dropout_ratio) in TRAIN, y = x in TEST. The mask is never stored, only its counter."""

    in_place = True
    backward_reads = ()
    remembers = ("stream", "key", "state")

    def setup(self):
        self.ratio = self.param.dropout_ratio
        if not 0 <= self.ratio < 1:
            raise self.error(f"dropout_param.dropout_ratio: must be at least 0 and below 1, got {self.ratio:g}")
        self.threshold = min(round(self.ratio * 2**31), 2**31 - 1)  # an int of CUDA's
        self.scale = 1 / (1 - self.ratio)
        self.stream = np.array([random.new_key()])

    def shapes(self, bottom):
        return Shapes(top=bottom, scratch={"key": self.stream, "state": ((1,), np.int64)})

    def forward(self, bottom, top):
        if self.phase != caffe_pb2.TRAIN:
            if not top[0].is_in_place_of(bottom[0]):
                ops.copy(bottom[0].data, top[0].count, top[0].data)
            return
        advance(1, self.state)
        drop(bottom[0].data, self.key, self.state, self.threshold, self.scale, top[0].count, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.phase == caffe_pb2.TRAIN:
            drop(top[0].diff, self.key, self.state, self.threshold, self.scale, top[0].count, bottom[0].diff)
        elif not top[0].is_in_place_of(bottom[0]):
            ops.copy(top[0].diff, top[0].count, bottom[0].diff)
