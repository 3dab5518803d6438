"""The small vocabulary that layers share: products, sums and copies, on whatever device is being planned for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .device import CPU
from .geometry import Geometry, Winners
from .kernel import current_launcher, device_function, expression, kernel


def gemm(
    a: Any,
    b: Any,
    out: Any,
    m: int,
    n: int,
    k: int,
    trans_a: bool = False,
    trans_b: bool = False,
    accumulate: bool = False,
) -> None:
    """out (m x n) = op(a) (m x k) times op(b) (k x n), row-major; added to what is there with `accumulate`."""
    if k and m * n:
        current_launcher().device.gemm(a, b, out, m, n, k, trans_a, trans_b, accumulate)
    elif not accumulate:
        fill(0, m * n, out)  # sums of nothing


class Convolution(Geometry):
    """The convolutions of one geometry. Gradients of the bias are added to, all else is overwritten.

    The batch may be empty, which leaves nothing to compute.
    """

    def joins(self, x: Any) -> bool:
        return self.batch > 0 and self._here().joins(x)

    def forward(self, x: Any, w: Any, bias: Any, y: Any, relu: bool = False, **more: Any) -> None:
        """y = w * x, plus the bias of each output channel if there is one, then ReLU.

        Where it `joins`, there may be `factors` for the weights of each output channel, and `other` to be added.
        """
        if self.batch:
            self._here().forward(x, w, bias, y, relu, **more)

    def forward_pool(
        self, x: Any, w: Any, bias: Any, y: Any, relu: bool, window: Any, argmax: Any, pooled: Any
    ) -> None:
        """The same; then the pool of y by this window: maxima, and their places in `argmax`, or else means.

        Without y that is all that is written. Only on the CPU, where it says `takes_pool`.
        """
        if self.batch:
            self._here().forward_pool(x, w, bias, y, relu, window, argmax, pooled)

    def backward_data(self, dy: Any, w: Any, dx: Any) -> None:
        """dx = the gradient of x."""
        if self.batch:
            self._here().backward_data(dy, w, dx)

    def backward_weights(self, x: Any, dy: Any, dw: Any, accumulate: bool = True) -> None:
        """dw = the gradient of w, added to what is there with `accumulate`."""
        if self.batch:
            self._here().backward_weights(x, dy, dw, accumulate)
        elif not accumulate:
            fill(0, self.outputs * self.depth, dw)

    def backward_weights_of_winners(self, x: Any, winners: Winners, dw: Any, db: Any, accumulate: bool = True) -> None:
        """dw = the gradient of w (added to what is there with `accumulate`), db += that of the bias (or db is None)."""
        if self.batch:
            self._here().backward_weights_of_winners(x, winners, dw, db, accumulate)
        elif not accumulate:
            fill(0, self.outputs * self.depth, dw)

    def backward_data_of_winners(self, winners: Winners, w: Any, dx: Any) -> None:
        """dx = the gradient of x."""
        if self.batch:
            self._here().backward_data_of_winners(winners, w, dx)

    def backward_bias(self, dy: Any, db: Any) -> None:
        """db += the gradient of the bias."""
        if self.batch:
            self._here().backward_bias(dy, db)

    def _here(self) -> Any:
        return current_launcher().device.convolution(self)


def inner_product(x: Any, w: Any, bias: Any, y: Any, m: int, n: int, k: int, trans_w: bool, relu: bool) -> None:
    """y (m x n) = x (m x k) op(w), plus the bias of each column if there is one, then ReLU with `relu`."""
    if current_launcher().device is CPU and k and m * n:
        CPU.gemm(x, w, y, m, n, k, False, trans_w, False, bias, relu)
        return
    gemm(x, w, y, m, n, k, trans_b=trans_w)
    if bias is not None:
        (add_bias_rows_relu if relu else add_bias_rows)(bias, m, n, y)


copy = expression("copy", "y", "x", "x")
copy.__doc__ = "y = x."


@kernel("x: T*, count: int -> y: T*")
def add_to(i, x, count, y):  # type: ignore[no-untyped-def]
    """y += x."""
    y[i] += x[i]


add_to.cuda("y[i] += x[i];")


add_two = expression("add_two", "y", "a b", "a + b")
add_three = expression("add_three", "y", "a b c", "a + b + c")
add_four = expression("add_four", "y", "a b c d", "a + b + c + d")
_SUMS = {2: add_two, 3: add_three, 4: add_four}


def add_up(arrays: Sequence[Any], count: int, out: Any) -> None:
    """out = the sum of several arrays, from the first to the last; four of them in one sweep."""
    first, rest = list(arrays[:4]), list(arrays[4:])
    if len(first) == 1:
        copy(first[0], count, out)
    else:
        _SUMS[len(first)](*first, count, out)
    while rest:
        part, rest = rest[:3], rest[3:]
        _SUMS[len(part) + 1](out, *part, count, out)


@kernel("value: T, count: int -> y: T*")
def fill(i, value, count, y):  # type: ignore[no-untyped-def]
    """y = value."""
    y[i] = value


fill.cpu("elements", "fill")
fill.cuda("y[i] = value;")


@kernel("bias: T*, rows: int, columns: int -> y: T*", over="rows", work="columns")
def add_bias_rows(row, bias, rows, columns, y):  # type: ignore[no-untyped-def]
    """Every row of y (rows x columns) += bias."""
    for j in range(columns):
        y[row * columns + j] += bias[j]


add_bias_rows.cuda("y[i] += bias[i % columns];", over="rows * columns")


@kernel("bias: T*, rows: int, columns: int -> y: T*", over="rows", work="columns")
def add_bias_rows_relu(row, bias, rows, columns, y):  # type: ignore[no-untyped-def]
    """Every row of y (rows x columns) = ReLU(y + bias)."""
    for j in range(columns):
        value = y[row * columns + j] + bias[j]
        y[row * columns + j] = value if value > 0 else value * 0


add_bias_rows_relu.cuda(
    "T value = y[i] + bias[i % columns]; y[i] = value > 0 ? value : value * 0;", over="rows * columns"
)


@kernel("x: T*, rows: int, columns: int -> out: T*", over="columns", work="rows")
def add_rows(j, x, rows, columns, out):  # type: ignore[no-untyped-def]
    """out (columns) += the sum of the rows of x (rows x columns)."""
    total = out[j]
    for row in range(rows):
        total += x[row * columns + j]
    out[j] = total


add_rows.cuda("T total = out[i]; for (int row = 0; row < rows; ++row) total += x[row * columns + i]; out[i] = total;")


# Long sums are made of blocks, so that they run in parallel and still always add up in the same order.
BLOCK = 4096
THREADS = 256  # that add up a block together on a GPU
BLOCKS, BLOCK_WORK = "(count + 4095) // 4096", "4096"
ROW_BLOCKS, ROW_BLOCK_WORK = "((length + 4095) // 4096)", "min(length, 4096)"  # the same for rows of `length`


@kernel(
    "x: T*, rows: int, length: int, x_first: int, x_step: int, y_first: int, y_step: int -> y: T*",
    over=f"rows * {ROW_BLOCKS}",
    work=ROW_BLOCK_WORK,
)
def copy_rows(i, x, rows, length, x_first, x_step, y_first, y_step, y):  # type: ignore[no-untyped-def]
    """`rows` rows of `length` elements, the first at x_first, x_step apart, go to y_first, y_step apart."""
    parts = (length + BLOCK - 1) // BLOCK
    row, first = i // parts, i % parts * BLOCK
    source, target = x_first + row * x_step, y_first + row * y_step
    for j in range(first, min(first + BLOCK, length)):
        y[target + j] = x[source + j]


copy_rows.cuda(
    "int row = i / length, j = i % length; y[y_first + row * y_step + j] = x[x_first + row * x_step + j];",
    over="rows * length",
)


def blocks(count: int) -> int:
    """Blocks that a sum over `count` elements is made of: the length of its partial sums (float64 scratch)."""
    return -(-count // BLOCK)


@kernel("partial: double*, blocks: int, scale: double -> out: T*", over="1", work="blocks")
def finish_sum(i, partial, blocks, scale, out):  # type: ignore[no-untyped-def]
    """out[0] = scale * (the sum of the partial sums)."""
    total = 0.0
    for block in range(blocks):
        total += partial[block]
    out[0] = total * scale


finish_sum.cuda("double total = 0; for (int b = 0; b < blocks; ++b) total += partial[b]; out[0] = total * scale;")


@device_function
def block_sum(value):  # type: ignore[no-untyped-def]
    """The sum of `value` over the threads of a CUDA block. (On the CPU an index is one thread: it has it all.)"""
    return value


block_sum.cuda("""
__device__ double block_sum(double value) {  // every thread gets it; blockDim.x is a power of two
    __shared__ double part[1024];
    part[threadIdx.x] = value;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    __syncthreads();
    double sum = part[0];
    __syncthreads();  // nobody writes the next sum before all have read this one
    return sum;
}
""")


def outer_count(shape: tuple[int, ...], axis: int) -> int:
    """Elements of the axes in front of `axis`."""
    return math.prod(shape[:axis])


def inner_count(shape: tuple[int, ...], axis: int) -> int:
    """Elements of the axes from `axis` on."""
    return math.prod(shape[axis:])
