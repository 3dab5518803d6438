"""Matrix product `C = op(A) op(B)`, with an optional bias and ReLU on its way out."""

from __future__ import annotations

import numpy as np

from ...kernel import T, kernel


@kernel(
    "m: int, n: int, k: int, a: T*, a_row: int, a_step: int, b: T*, b_step: int, b_column: int, "
    "bias: T*, has_bias: int, relu: int, accumulate: int, ldc: int -> c: T*",
    over="m",
    work="n * k",
)
def multiply_rows(  # type: ignore[no-untyped-def]
    i, m, n, k, a, a_row, a_step, b, b_step, b_column, bias, has_bias, relu, accumulate, ldc, c
):
    """Row i of C, the plain way."""
    for j in range(n):
        total = T(0)
        for p in range(k):
            total += a[i * a_row + p * a_step] * b[p * b_step + j * b_column]
        if accumulate != 0:
            total += c[i * ldc + j]
        if has_bias != 0:
            total += bias[j]
        if relu != 0 and total < T(0):
            total = T(0)
        c[i * ldc + j] = total


def gemm(
    trans_a: bool,
    trans_b: bool,
    m: int,
    n: int,
    k: int,
    a: np.ndarray,
    lda: int,
    b: np.ndarray,
    ldb: int,
    c: np.ndarray,
    ldc: int,
    accumulate: bool = False,
    bias: np.ndarray | None = None,
    relu: bool = False,
) -> None:
    """C (m x n) = op(A) op(B), or C += that; then `bias[j]` is added to column j, then ReLU taken.

    Matrices are row-major, begin where their array begins, and have rows `lda`, `ldb`, `ldc` elements apart.
    """
    a_row, a_step = (1, lda) if trans_a else (lda, 1)
    b_step, b_column = (1, ldb) if trans_b else (ldb, 1)
    multiply_rows(
        m, n, k, a, a_row, a_step, b, b_step, b_column,
        bias, int(bias is not None), int(relu), int(accumulate), ldc, c,
    )  # fmt: skip
