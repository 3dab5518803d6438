"""Random numbers: one seed for everything, and a counter-based generator that CPU and GPU share.

`set_random_seed` fixes fillers, shuffling, augmentation and dropout. Each consumer takes a stream of its
own in the order of construction, so runs repeat. Inside kernels numbers come from Philox4x32-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a pure function of key and
counter, so that any index can be computed on its own and a snapshot need only keep the counter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .kernel import device_function


class _Root:
    """The seed of the process, and how many streams have been taken from it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seed(None)

    def seed(self, seed: int | None) -> None:
        with self.lock:
            self.sequence = np.random.SeedSequence(seed)

    def spawn(self) -> np.random.SeedSequence:
        with self.lock:
            return self.sequence.spawn(1)[0]


_root = _Root()


def set_random_seed(seed: int) -> None:
    """Start all random streams anew from this seed (negative: from the system's entropy, as Caffe does)."""
    _root.seed(None if seed < 0 else int(seed))


def state() -> dict[str, Any]:
    """The seed, and how many streams have been taken."""
    return {"entropy": _root.sequence.entropy, "streams": _root.sequence.n_children_spawned}


def restore(state: dict[str, Any]) -> None:
    """Let the next streams be those that would have come where `state` was taken."""
    with _root.lock:
        _root.sequence = np.random.SeedSequence(state["entropy"], n_children_spawned=state["streams"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """In this block all random streams start from this seed; behind it they go on as if nothing had been.

    Nets and solvers take their streams when they are made. There is one seed for all threads.
    """
    before = state()
    set_random_seed(seed)
    try:
        yield
    finally:
        restore(before)


def new_generator() -> np.random.Generator:
    """A generator for the host, independent of all others taken before."""
    return np.random.Generator(np.random.Philox(_root.spawn()))


def new_key() -> int:
    """A key for `philox` in kernels, below 2**62."""
    return int(_root.spawn().generate_state(1, np.uint64)[0] >> 2)


MASK32 = 0xFFFFFFFF


@device_function
def philox(key, counter, index):  # type: ignore[no-untyped-def]
    """32 random bits (as a non-negative int) for element `index` at `counter`: Philox4x32-10, one of its four words."""
    block = index >> 2
    c0, c1 = block & MASK32, (block >> 32) & MASK32
    c2, c3 = counter & MASK32, (counter >> 32) & MASK32
    k0, k1 = key & MASK32, (key >> 32) & MASK32
    for _ in range(10):
        # 32 x 32 -> 64 bit products in halves: int64 has no room for the sign
        h0, l0 = mulhilo(0xD2511F53, c0)
        h1, l1 = mulhilo(0xCD9E8D57, c2)
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    word = index & 3
    if word == 0:
        return c0
    if word == 1:
        return c1
    return c2 if word == 2 else c3


@device_function
def mulhilo(a, b):  # type: ignore[no-untyped-def]
    """High and low 32 bits of a product of two 32-bit numbers, in signed 64-bit arithmetic."""
    low = (a & 0xFFFF) * b
    high = (a >> 16) * b + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


mulhilo.cuda("")  # CUDA has __umulhi
philox.cuda("""
__device__ unsigned philox(long long key, long long counter, long long index) {
    unsigned c0 = (unsigned)(index >> 2), c1 = (unsigned)((index >> 2) >> 32);
    unsigned c2 = (unsigned)counter, c3 = (unsigned)(counter >> 32);
    unsigned k0 = (unsigned)key, k1 = (unsigned)(key >> 32);
    for (int round = 0; round < 10; ++round) {
        unsigned h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        unsigned h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    int word = (int)(index & 3);
    return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}
""")
