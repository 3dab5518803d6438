"""One tile of a matrix product, computed by one block of threads: what all products of this backend are made of.

A block computes TILE x TILE values. It walks along the products in slabs: all threads together fetch a slab
of both matrices into shared memory, then each thread multiplies its 4 x 4 share out of it. Every value is
summed by one thread in one order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .source import CudaKernel

TILE = 64  # rows and columns of a block: each fetched value is used so many times
SLAB = 16  # products between two fetches
THREADS = 256  # 16 x 16, each with 4 x 4 values
NAMES = {"TILE": TILE, "SLAB": SLAB, "THREADS": THREADS}

_BODY = """
    __shared__ T a_slab[SLAB][TILE + 1], b_slab[SLAB][TILE + 1];  // + 1: a column lies in different banks
    {start}
    const int across = threadIdx.x % 16, down = threadIdx.x / 16;
    T sum[4][4] = {{}};
    for (int p = first; p < last; p += SLAB) {{
        for (int e = threadIdx.x; e < TILE * SLAB; e += THREADS) {{
            const bool along = {a_along};
            const int line = along ? e / SLAB : e % TILE, step = along ? e % SLAB : e / TILE;
            const int row = row0 + line, k = p + step;
            a_slab[step][line] = row < rows && k < last ? {a} : T(0);
        }}
        for (int e = threadIdx.x; e < TILE * SLAB; e += THREADS) {{
            const bool along = {b_along};
            const int line = along ? e / SLAB : e % TILE, step = along ? e % SLAB : e / TILE;
            const int column = column0 + line, k = p + step;
            T value = 0;
            if (column < columns && k < last) {{ {b} }}
            b_slab[step][line] = value;
        }}
        __syncthreads();
        for (int step = 0; step < SLAB; ++step) {{
            T a_part[4], b_part[4];
            for (int j = 0; j < 4; ++j) {{
                a_part[j] = a_slab[step][down + 16 * j];
                b_part[j] = b_slab[step][across + 16 * j];
            }}
            for (int j = 0; j < 4; ++j)
                for (int l = 0; l < 4; ++l) sum[j][l] += a_part[j] * b_part[l];
        }}
        __syncthreads();
    }}
    for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 4; ++l) {{
            const int row = row0 + down + 16 * j, column = column0 + across + 16 * l;
            T total = sum[j][l];
            if (row < rows && column < columns) {{ {store} }}
        }}
"""


def product_kernel(
    name: str,
    signature: str,
    over: str,
    start: str,
    a: str,
    b: str,
    store: str,
    a_along: str = "true",
    b_along: str = "false",
    names: Mapping[str, Any] | None = None,
) -> CudaKernel:
    """A kernel whose every block is one tile.

    `start` declares rows, columns, row0, column0 and the products first..last-1 of block `i`; `a` is the value
    at (row, k), `b` sets `value` to that at (k, column), `store` keeps `total` at (row, column). Neighbours in
    memory should be fetched by neighbouring threads: along k where `a_along` (`b_along`), else across.
    """
    body = _BODY.format(start=start.strip(), a=a, b=b, store=store, a_along=a_along, b_along=b_along)
    return CudaKernel(name, signature, body, over, THREADS, NAMES | dict(names or {}))


def tiles(count: str) -> str:
    """Python, and C but for its division: how many tiles cover `count` rows or columns."""
    return f"(({count} + {TILE - 1}) // {TILE})"
