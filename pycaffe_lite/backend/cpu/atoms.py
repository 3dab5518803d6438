"""The few machine operations that Python has no word for, as names kernels can call.

Each is a stub; `codegen.py` gives it to numba as LLVM code. They are kept apart so that a process
with a warm cache never imports numba. Addresses are plain integers, `p` a pointer to int64.
"""

from __future__ import annotations


def pointer(address, kind):  # type: ignore[no-untyped-def]
    """The integer `address` as a pointer of this kind (`"T*"`, `"int*"` ...)."""
    raise NotImplementedError("compiled code only")


def offset(p, count):  # type: ignore[no-untyped-def]
    """The pointer `count` elements after `p`."""
    raise NotImplementedError("compiled code only")


def scalar(bits, kind):  # type: ignore[no-untyped-def]
    """The low bits of an integer read as a number of this kind (`"T"`, `"double"`)."""
    raise NotImplementedError("compiled code only")


def call(function, start, stop, thread, args):  # type: ignore[no-untyped-def]
    """Call the kernel entry at the address `function`."""
    raise NotImplementedError("compiled code only")


def atomic_load(p, index):  # type: ignore[no-untyped-def]
    """p[index], seeing all that its writer wrote before it."""
    raise NotImplementedError("compiled code only")


def atomic_store(p, index, value):  # type: ignore[no-untyped-def]
    """p[index] = value, after everything written so far."""
    raise NotImplementedError("compiled code only")


def atomic_add(p, index, value):  # type: ignore[no-untyped-def]
    """p[index] += value in one step; returns what was there before."""
    raise NotImplementedError("compiled code only")


def pause():  # type: ignore[no-untyped-def]
    """Tell the core that this thread is only waiting."""
    raise NotImplementedError("compiled code only")


def give_way():  # type: ignore[no-untyped-def]
    """Let another thread have this core."""
    raise NotImplementedError("compiled code only")
