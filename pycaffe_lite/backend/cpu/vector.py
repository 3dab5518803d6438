"""Vectors of float32: the few operations that kernels need where LLVM would not find them by itself.

Stubs, as in `atoms.py`; `vector_codegen.py` gives them to numba. A vector has `LANES` lanes, as many
as one register of the processor holds. `p` is a pointer to float32, `count` any integer. There are
vectors of int32 too; `store`, `store_some`, `add`, `above`, `choose` and the zips take both.
"""

from __future__ import annotations

from .atoms import compiled_only
from .processor import X86, processor

FEATURES = frozenset(processor()[1].split(","))
AVX512 = X86 and "+avx512f" in FEATURES
AVX2 = X86 and "+avx2" in FEATURES and "+fma" in FEATURES

LANES = 16 if AVX512 else 8 if AVX2 else 4


def floats_at(address):  # type: ignore[no-untyped-def]
    """The integer `address` as a pointer to float32."""
    compiled_only()


def longs(p):  # type: ignore[no-untyped-def]
    """The pointer to float32 `p` as a pointer to int64."""
    compiled_only()


def ints(p):  # type: ignore[no-untyped-def]
    """The pointer to float32 `p` as a pointer to int32."""
    compiled_only()


def load(p):  # type: ignore[no-untyped-def]
    """The vector at `p`."""
    compiled_only()


def load_ints(p, first):  # type: ignore[no-untyped-def]
    """The vector of int32 from number `first` on, in a list of int32 that begins at the pointer to int64 `p`."""
    compiled_only()


def load_some(p, count):  # type: ignore[no-untyped-def]
    """The first `count` lanes of the vector at `p`, zero in the others, whose memory is not touched."""
    compiled_only()


def load_some_ints(p, count):  # type: ignore[no-untyped-def]
    """The same of int32, from a pointer to those."""
    compiled_only()


def load_between(p, first, last):  # type: ignore[no-untyped-def]
    """Lanes `first` to `last` - 1 of the vector at `p`, zero in the others, whose memory is not touched."""
    compiled_only()


def store(p, vector):  # type: ignore[no-untyped-def]
    """Write a vector to `p`."""
    compiled_only()


def store_some(p, vector, count):  # type: ignore[no-untyped-def]
    """Write the first `count` lanes of a vector to `p`."""
    compiled_only()


def stream(p, vector):  # type: ignore[no-untyped-def]
    """Write a vector past the caches to `p`, which is a multiple of its size: for what nobody reads soon."""
    compiled_only()


def prefetch(p):  # type: ignore[no-untyped-def]
    """Have the cache line at `p` fetched; any address will do."""
    compiled_only()


def prefetch_to_write(p):  # type: ignore[no-untyped-def]
    """The same for a line that will be written."""
    compiled_only()


def settle():  # type: ignore[no-untyped-def]
    """Let what was streamed be seen by all threads before anything written after it."""
    compiled_only()


def splat(value):  # type: ignore[no-untyped-def]
    """A vector with this number in every lane."""
    compiled_only()


def whole(value):  # type: ignore[no-untyped-def]
    """A vector of int32 with this number in every lane."""
    compiled_only()


def steps(first, step):  # type: ignore[no-untyped-def]
    """The vector of int32 first, first + step, first + 2 * step ..."""
    compiled_only()


def xor(a, b):  # type: ignore[no-untyped-def]
    """The bits in which two vectors of int32 differ."""
    compiled_only()


def product_low(a, b):  # type: ignore[no-untyped-def]
    """The lower 32 bits of the products of two vectors of int32."""
    compiled_only()


def product_high(a, b):  # type: ignore[no-untyped-def]
    """The upper 32 bits of the same, all numbers taken as unsigned."""
    compiled_only()


def halved(vector):  # type: ignore[no-untyped-def]
    """A vector of int32, taken as unsigned, over 2."""
    compiled_only()


def add(a, b):  # type: ignore[no-untyped-def]
    """a + b"""
    compiled_only()


def above(a, b):  # type: ignore[no-untyped-def]
    """In which lanes a > b: for `choose`. Never with NaN."""
    compiled_only()


def every(lanes):  # type: ignore[no-untyped-def]
    """Whether it is so in all lanes."""
    compiled_only()


def truncated(vector):  # type: ignore[no-untyped-def]
    """The vector of int32 that is left without what is behind the point."""
    compiled_only()


def exponential(vector):  # type: ignore[no-untyped-def]
    """exp of each lane, within 2 units of the last place."""
    compiled_only()


def highest(vector):  # type: ignore[no-untyped-def]
    """The largest lane; NaN only if the first one is."""
    compiled_only()


def square_root(vector):  # type: ignore[no-untyped-def]
    """The square root of each lane."""
    compiled_only()


def rough_root(vector):  # type: ignore[no-untyped-def]
    """vector ** -0.25 within 4 %, of positive and normal numbers: a quarter of their exponents, in whole numbers."""
    compiled_only()


def choose(lanes, a, b):  # type: ignore[no-untyped-def]
    """a in these lanes, b in the others."""
    compiled_only()


def subtract(a, b):  # type: ignore[no-untyped-def]
    """a - b"""
    compiled_only()


def multiply(a, b):  # type: ignore[no-untyped-def]
    """a * b"""
    compiled_only()


def divide(a, b):  # type: ignore[no-untyped-def]
    """a / b"""
    compiled_only()


def multiply_add(a, b, c):  # type: ignore[no-untyped-def]
    """a * b + c, rounded once where the processor can."""
    compiled_only()


def at_least(vector, floor):  # type: ignore[no-untyped-def]
    """The larger of two vectors, lane by lane; NaN where `vector` is NaN."""
    compiled_only()


def evens(a, b):  # type: ignore[no-untyped-def]
    """Every other lane of a, from the first on, then those of b."""
    compiled_only()


def odds(a, b):  # type: ignore[no-untyped-def]
    """The other lanes of a, then those of b."""
    compiled_only()


def zip_low(a, b):  # type: ignore[no-untyped-def]
    """The first lane of a, the first of b, the second of a ...: the first half of what they make."""
    compiled_only()


def zip_high(a, b):  # type: ignore[no-untyped-def]
    """The other half."""
    compiled_only()


def total(vector):  # type: ignore[no-untyped-def]
    """The sum of the lanes, always in the same order."""
    compiled_only()


def transpose(source, pitch, rows, columns, target, target_pitch):  # type: ignore[no-untyped-def]
    """target[j * target_pitch + i] = source[i * pitch + j], a square of at most LANES x LANES.

    Whole vectors are written for j < columns, with zero in the lanes from `rows` on.
    """
    compiled_only()


def transpose_to(source, pitch, rows, columns, target, places):  # type: ignore[no-untyped-def]
    """The same, but the vector for j goes to target[places[j]]; `places` is a pointer to int64."""
    compiled_only()


def store_transposed(source, pitch, rows, columns, target, target_pitch):  # type: ignore[no-untyped-def]
    """What `transpose` does, but LANES whole lines are read, and nothing is written beyond the square."""
    compiled_only()
