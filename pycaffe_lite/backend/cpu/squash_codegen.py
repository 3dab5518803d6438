"""LLVM code for exp and log, for `squash.py` and in vectors for `vector.py`. Imported only to compile."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ... import squash
from . import vector
from .codegen import I32, define
from .vector import LANES
from .vector_codegen import FLOATS, INTEGERS, VECTOR, fixed, intrinsic

# exp(x) is 2 ** n times a Taylor polynomial of what is left; x is cut off where the result is 0 or infinite anyway.
LOG2, LOWEST, HIGHEST = 0.6931471805599453, -104.0, 89.0
LOG2_HIGH = 0.693145751953125  # few enough digits for n times it to be exact
SMALLEST = 2.0**-126
ROOT_OF_HALF = 0x3F3504F3  # the bits of sqrt(1/2)


class Alike:
    """Constants and functions for one float32 or for a vector of them, whichever `x` is."""

    def __init__(self, builder: Any, x: Any) -> None:
        self.builder, self.number, self.lanes = builder, x.type, LANES if x.type == VECTOR else 0
        self.integer = INTEGERS if self.lanes else I32

    def constant(self, value: float) -> Any:
        return ir.Constant(self.number, [value] * self.lanes if self.lanes else value)

    def whole(self, value: int) -> Any:
        return ir.Constant(self.integer, [value] * self.lanes if self.lanes else value)

    def muladd(self, a: Any, b: Any, c: Any) -> Any:
        name = f"llvm.fmuladd.{f'v{LANES}f32' if self.lanes else 'f32'}"
        return self.builder.call(intrinsic(self.builder, name, self.number, [self.number] * 3), [a, b, c])

    def power_of_two(self, n: Any) -> Any:
        """2 ** n, n being whole and from -126 to 127."""
        bits = self.builder.shl(self.builder.add(n, self.whole(127)), self.whole(23))
        return self.builder.bitcast(bits, self.number)

    def below(self, a: Any, b: float) -> Any:
        return self.builder.fcmp_ordered("<", a, self.constant(b))


def emit_reduced(like: Alike, x: Any) -> tuple[Any, Any]:
    """n, whole (0 for NaN), and x - n log(2), at most half of log(2)."""
    builder, constant = like.builder, like.constant
    x = builder.select(like.below(x, LOWEST), constant(LOWEST), x)  # NaN passes both
    x = builder.select(builder.fcmp_ordered(">", x, constant(HIGHEST)), constant(HIGHEST), x)
    steps = like.muladd(x, constant(1 / LOG2), constant(200.5))  # above 0, where to round down is to cut off
    n = builder.sub(builder.fptosi(steps, like.integer), like.whole(200))
    n = builder.select(builder.fcmp_ordered("==", x, x), n, like.whole(0))
    number = builder.sitofp(n, like.number)
    r = like.muladd(number, constant(-LOG2_HIGH), x)
    return n, like.muladd(number, constant(LOG2_HIGH - LOG2), r)


def emit_exponential(builder: Any, x: Any) -> Any:
    """exp of one float32, or of a vector of them."""
    like = Alike(builder, x)
    n, r = emit_reduced(like, x)
    p = like.constant(1 / 5040)
    for factor in (720, 120, 24, 6, 2, 1, 1):
        p = like.muladd(p, r, like.constant(1 / factor))
    half = builder.ashr(n, like.whole(1))  # 2 ** n may have no exponent; two halves do
    for part in (half, builder.sub(n, half)):
        p = builder.fmul(p, like.power_of_two(part))
    return p


def emit_less_one(builder: Any, x: Any) -> Any:
    """exp(x) - 1 for x from -80 to 80: 2 ** n (exp(r) - 1) + (2 ** n - 1), which keeps small values exact."""
    like = Alike(builder, x)
    n, r = emit_reduced(like, x)
    p = like.constant(1 / 5040)
    for factor in (720, 120, 24, 6, 2):
        p = like.muladd(p, r, like.constant(1 / factor))
    p = like.muladd(builder.fmul(p, r), r, r)
    power = like.power_of_two(n)
    return like.muladd(p, power, builder.fsub(power, like.constant(1)))


def emit_logarithm(builder: Any, x: Any) -> Any:
    """log of the same: x = 2 ** n (1 + f), f from sqrt(1/2) - 1 to sqrt(2) - 1, log(1 + f) = 2 artanh(f / (2 + f))."""
    like = Alike(builder, x)
    constant = like.constant
    tiny = like.below(x, SMALLEST)  # without an exponent of its own
    bits = builder.bitcast(builder.select(tiny, builder.fmul(x, constant(2.0**23)), x), like.integer)
    above_root = builder.sub(bits, like.whole(ROOT_OF_HALF))
    n = builder.ashr(above_root, like.whole(23))
    f = builder.bitcast(builder.sub(bits, builder.shl(n, like.whole(23))), like.number)
    f = builder.fsub(f, constant(1))
    n = builder.sub(n, builder.select(tiny, like.whole(23), like.whole(0)))
    number = builder.sitofp(n, like.number)
    s = builder.fdiv(f, builder.fadd(f, constant(2)))
    q = builder.fmul(s, s)
    p = constant(2 / 9)
    for divisor in (7, 5, 3):
        p = like.muladd(p, q, constant(2 / divisor))
    # 2 artanh(s) = f - s (f - q p), since 2 s = f - s f: the part that is rounded is small
    rest = builder.fmul(s, builder.fsub(f, builder.fmul(q, p)))
    rest = builder.fsub(builder.fmul(number, constant(LOG2 - LOG2_HIGH)), rest)
    result = like.muladd(number, constant(LOG2_HIGH), builder.fadd(f, rest))
    kept = builder.fcmp_ordered("<", x, constant(float("inf")))  # infinity and NaN stay what they are
    result = builder.select(kept, result, x)
    result = builder.select(like.below(x, 0), constant(float("nan")), result)
    return builder.select(builder.fcmp_ordered("==", x, constant(0)), constant(float("-inf")), result)


def define_of_either(stub: Any, emit_float: Any, of_double: str) -> None:
    """Functions of `squash`: of float32 as above, of float64 the machine's."""

    def emit(builder: Any, args: Any, signature: Any) -> Any:
        double = ir.DoubleType()
        if args[0].type == double:
            return builder.call(intrinsic(builder, f"llvm.{of_double}.f64", double, [double]), [args[0]])
        return emit_float(builder, args[0])

    define(stub, 1, lambda x: x, emit)


define_of_either(squash.exponential, emit_exponential, "exp")
define_of_either(squash.logarithm, emit_logarithm, "log")
fixed(squash.less_one, types.float32, (types.float32,), emit_less_one)
fixed(vector.exponential, FLOATS, (FLOATS,), emit_exponential)
