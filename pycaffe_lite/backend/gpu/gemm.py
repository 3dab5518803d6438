"""Matrix product `C = op(A) op(B)` of our own, for where cuBLAS is not."""

from __future__ import annotations

from typing import Any

from .tile import product_kernel, tiles

multiply = product_kernel(
    "multiply",
    "a: T*, b: T*, m: int, n: int, k: int, a_row: int, a_step: int, b_step: int, b_column: int, accumulate: int"
    " -> c: T*",
    over=f"{tiles('m')} * {tiles('n')}",
    start="""
    const int rows = m, columns = n, first = 0, last = k, tiles = (m + TILE - 1) / TILE;
    const int row0 = i % tiles * TILE, column0 = i / tiles * TILE;
    """,
    a="a[row * a_row + k * a_step]",
    b="value = b[k * b_step + column * b_column];",
    store="c[row * n + column] = accumulate ? c[row * n + column] + total : total;",
    a_along="a_step == 1",
    b_along="b_step == 1",
)


def gemm(a: Any, b: Any, out: Any, m: int, n: int, k: int, trans_a: bool, trans_b: bool, accumulate: bool) -> None:
    """out (m x n) = op(a) (m x k) times op(b) (k x n), row-major; added to what is there with `accumulate`."""
    a_row, a_step = (1, m) if trans_a else (k, 1)
    b_step, b_column = (1, k) if trans_b else (n, 1)
    multiply(a, b, m, n, k, a_row, a_step, b_step, b_column, int(accumulate), out)
