"""EuclideanLoss: half the mean squared difference."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..kernel import kernel
from ..layer import Shapes, exactly
from ..ops import BLOCK, block_sum
from ._loss import LossLayer


@kernel("a: T*, b: T*, count: int -> partial: double*", over=ops.BLOCKS, work=ops.BLOCK_WORK)
def squared_distance(i, a, b, count, partial):
    """partial[i] = the sum of (a - b)^2 over block i."""
    total = 0.0
    for j in range(i * BLOCK, min(count, (i + 1) * BLOCK)):
        d = a[j] - b[j]
        total += d * d
    partial[i] = block_sum(total)


squared_distance.cuda(
    """
    double total = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x) {
        T d = a[j] - b[j];
        total += d * d;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) partial[i] = total;
    """,
    block=ops.THREADS,
)


@kernel("a: T*, b: T*, dloss: T*, scale: T, count: int -> dx: T*")
def distance_grad(i, a, b, dloss, scale, count, dx):
    """dx = scale * dloss * (a - b)."""
    dx[i] = scale * dloss[0] * (a[i] - b[i])


distance_grad.cuda("dx[i] = scale * dloss[0] * (a[i] - b[i]);")


class EuclideanLoss(LossLayer, type="EuclideanLoss"):
    """loss = 1/(2N) sum (x0 - x1)^2, N the first axis; both bottoms may have gradients."""

    bottoms = exactly(2)

    def shapes(self, bottom):
        self.check_same_batch(bottom)
        self.check_same_count(bottom)
        self.batch = max(1, bottom[0][0])
        return Shapes(top=[()], scratch={"partial": ((ops.blocks(math.prod(bottom[0])),), np.float64)})

    def forward(self, bottom, top):
        a, b = bottom
        squared_distance(a.data, b.data, a.count, self.partial)
        ops.finish_sum(self.partial, len(self.partial), 0.5 / self.batch, top[0].data)

    def backward(self, top, propagate_down, bottom):
        a, b = bottom
        for sign, blob, wanted in zip((1, -1), bottom, propagate_down):
            if wanted:
                distance_grad(a.data, b.data, top[0].diff, sign / self.batch, blob.count, blob.diff)
