"""Reduction: all axes from `axis` on become one number: their sum, sum of magnitudes or squares, or mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..kernel import kernel
from ..layer import Layer, Shapes
from ..ops import BLOCK, block_sum
from ..proto import caffe_pb2

OPERATION = caffe_pb2.ReductionParameter
PARTS: Any = {"over": f"rows * {ops.ROW_BLOCKS}", "work": ops.ROW_BLOCK_WORK}
THREADS = 256


@kernel("x: T*, magnitudes: int, squares: int, rows: int, length: int -> partial: double*", **PARTS, any_order=True)
def sum_parts(i, x, magnitudes, squares, rows, length, partial):
    """partial[i] = the sum of x, |x| or x^2 over one part of one row."""
    parts = (length + BLOCK - 1) // BLOCK
    row, first = i // parts * length, i % parts * BLOCK
    total = 0.0
    for j in range(row + first, row + min(first + BLOCK, length)):
        value = abs(x[j]) if magnitudes else x[j]
        total += value * x[j] if squares else value
    partial[i] = block_sum(total)


sum_parts.cuda(
    """
    int parts = (length + 4095) / 4096, row = i / parts * length, first = i % parts * 4096;
    double total = 0;
    for (int j = row + first + threadIdx.x; j < row + min(first + 4096, length); j += blockDim.x) {
        T value = magnitudes ? fabs(x[j]) : x[j];
        total += squares ? value * x[j] : value;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) partial[i] = total;
""",
    over=PARTS["over"],
    block=THREADS,
)


@kernel("partial: double*, factor: double, rows: int, parts: int -> y: T*", over="rows", work="parts")
def finish_rows(i, partial, factor, rows, parts, y):
    """y = factor * (the sum of the parts of a row)."""
    total = 0.0
    for part in range(i * parts, (i + 1) * parts):
        total += partial[part]
    y[i] = total * factor


finish_rows.cuda("""
    double total = 0;
    for (int part = i * parts; part < (i + 1) * parts; ++part) total += partial[part];
    y[i] = total * factor;
""")


@kernel("x: T*, dy: T*, magnitudes: int, squares: int, factor: T, rows: int, length: int -> dx: T*", **PARTS)
def sum_parts_grad(i, x, dy, magnitudes, squares, factor, rows, length, dx):
    """dx = factor * dy times 1, the sign of x, or 2 x."""
    parts = (length + BLOCK - 1) // BLOCK
    row, first = i // parts, i % parts * BLOCK
    scale = factor * dy[row]
    for j in range(row * length + first, row * length + min(first + BLOCK, length)):
        sign = scale if x[j] > 0 else (-scale if x[j] < 0 else 0 * scale)
        dx[j] = 2 * scale * x[j] if squares else (sign if magnitudes else scale)


sum_parts_grad.cuda(
    """
    T scale = factor * dy[i / length], sign = x[i] > 0 ? scale : x[i] < 0 ? -scale : 0;
    dx[i] = squares ? 2 * scale * x[i] : magnitudes ? sign : scale;
""",
    over="rows * length",
)


class Reduction(Layer, type="Reduction", param="reduction_param"):
    """y = coeff * SUM, ASUM, SUMSQ or MEAN of everything from `axis` on."""

    def setup(self):
        operation = self.param.operation
        self.kind = operation == OPERATION.ASUM, operation == OPERATION.SUMSQ
        self.backward_reads = ("bottom",) if any(self.kind) else ()

    def shapes(self, bottom):
        (shape,) = bottom
        axis = self.axis(self.param.axis, shape, "reduction_param.axis")
        self.rows, self.length = math.prod(shape[:axis]), math.prod(shape[axis:])
        mean = self.param.operation == OPERATION.MEAN
        self.factor = self.param.coeff / max(1, self.length) if mean else self.param.coeff
        parts = self.rows * ops.blocks(self.length)
        return Shapes(top=[shape[:axis]], scratch={"partial": ((parts,), np.float64)})

    def forward(self, bottom, top):
        sum_parts(bottom[0].data, *self.kind, self.rows, self.length, self.partial)
        finish_rows(self.partial, self.factor, self.rows, ops.blocks(self.length), top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, dy, dx = bottom[0].data, top[0].diff, bottom[0].diff
            sum_parts_grad(x, dy, *self.kind, self.factor, self.rows, self.length, dx)
