"""Sigmoid, tanh, exp, log and log(1 + x) for kernels, as polynomials: loops over them vectorise, ten times as fast.

In float64 sigmoid and tanh are functions of exp(x) - 1. That is a Taylor polynomial at x / 64, doubled six times by
exp(2 x) - 1 = q (q + 2) where q = exp(x) - 1, which keeps small values exact. It is right to 1e-14. Beyond +-40
nothing changes any more that the sum with 1 would not lose. In float32 they are made of `squash_codegen.py`'s
functions, right to two units of the last place. A NaN stays one.
"""

from __future__ import annotations

import math

from .kernel import T, device_function


def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x), within 2 units of the last place for float32; `squash_codegen.py` gives the compiler code for it."""
    return math.exp(x)


def less_one(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1 in float32, for x from -80 to 80; the same holds for its code."""
    return math.expm1(x)


def logarithm(x):  # type: ignore[no-untyped-def]
    """log(x), within a unit of the last place for float32, and its code."""
    return math.log(x)


@device_function
def log_one_more(x):  # type: ignore[no-untyped-def]
    """log(1 + x) for x of 0 to 1. For float32 2 artanh(s), s being x / (2 + x), at most 1/3."""
    if T(1) + T(1e-10) > T(1):  # float64: known when it is compiled
        return math.log1p(x)
    s = x / (x + T(2))
    q = s * s
    p = q * T(1 / 15) + T(1 / 13)
    p = p * q + T(1 / 11)
    p = p * q + T(1 / 9)
    p = p * q + T(1 / 7)
    p = p * q + T(1 / 5)
    p = p * q + T(1 / 3)
    return T(2) * (p * q * s + s)


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
    if T(1) + T(1e-10) == T(1):  # float32
        return T(1) / (T(1) + exponential(T(-x)))
    return 1.0 / (2.0 + bounded_expm1(-x))


@device_function
def tanh(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent."""
    if T(1) + T(1e-10) == T(1):  # float32
        twice = T(2) * math.fabs(x)  # errors of a large q cancel out of what follows
        twice = T(40) if twice > T(40) else twice
        q = less_one(twice)
        y = q / (q + T(2))
        return -y if x < T(0) else y
    q = bounded_expm1(2.0 * x)
    return q / (q + 2.0)


log_one_more.cuda("")
sigmoid.cuda("__device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }")
tanh.cuda("")  # CUDA has its own
