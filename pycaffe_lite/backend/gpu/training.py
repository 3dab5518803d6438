"""Kernels of a training loop that the host does not watch: what it wants to know waits in device memory."""

from __future__ import annotations

from ...ops import BLOCK, BLOCKS, THREADS, block_sum
from .source import CudaKernel

note_loss = CudaKernel(
    "note_loss",
    "top: T*, count: int, weight: double, table: T*, width: int, first: int, last: int, guards: int, go: int,"
    " cleared: int, over: int -> gradients: T*, guard: long*, losses: double*, counter: long*, numbers: T*",
    """
    // The first loss of an iteration is where it begins: without gradients, with its own rate and the like.
    if (i < cleared) gradients[i] = 0;
    if (i > 0) return;
    if (first) for (int n = 0; n < width; ++n) numbers[n] = table[counter[0] * width + n];
    int good = 1;
    for (int g = 1; g < guards; ++g) if (guard[g]) good = 0;
    if (!guard[0]) {
        double total = 0;
        for (int j = 0; j < count; ++j) total += top[j];
        double loss = weight * total + (first ? 0 : losses[counter[0]]);
        losses[counter[0]] = loss;
        if (last && !(fabs(loss) <= LARGEST)) guard[0] = 1;
    }
    // Where something is wrong the update is left out, and the counter stays at its iteration.
    if (guard[0]) good = 0;
    if (last) numbers[go] = good;
    if (last == 2 && good) counter[0] += 1;
    """,
    over="over",
    block=None,
    names={"LARGEST": 1.7976931348623157e308},
)

tally = CudaKernel(
    "tally", "x: T*, count: int -> totals: double*", "totals[i] += x[i];", over="count", block=None, names={}
)

scale_loss = CudaKernel(
    "scale_loss",
    "scaling: double*, weight: double, count: int -> diff: T*",
    "diff[i] = weight * scaling[0];",
    over="count",
    block=None,
    names={},
)

unscale = CudaKernel(
    "unscale",
    "scaling: double*, count: int -> g: T*, partial: int*",
    """
    const T factor = 1 / scaling[0];
    double bad = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x) {
        g[j] *= factor;
        if (!(g[j] - g[j] == 0)) bad = 1;  // an infinity, or NaN
    }
    bad = block_sum(bad);
    if (threadIdx.x == 0) partial[i] = bad > 0;
    """,
    over=BLOCKS,
    block=THREADS,
    names={"BLOCK": BLOCK, "block_sum": block_sum},
)

adapt_scale = CudaKernel(
    "adapt_scale",
    "partial: int*, blocks: int, interval: int, least: double, most: double, go: int -> scaling: double*, numbers: T*",
    """
    // scaling: the scale, updates since it was changed, updates that were left out.
    if (!numbers[go]) return;
    int bad = 0;
    for (int b = 0; b < blocks; ++b) bad |= partial[b];
    scaling[1] += 1;
    if (bad) {
        scaling[0] = max(least, scaling[0] / 2);
        scaling[1] = numbers[go] = 0;
        scaling[2] += 1;
    } else if (scaling[1] >= interval) {
        scaling[0] = min(most, scaling[0] * 2);
        scaling[1] = 0;
    }
    """,
    over="1",
    block=None,
    names={},
)
