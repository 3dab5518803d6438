"""The few machine operations that Python has no word for, as names kernels can call.

Each is a stub; `codegen.py` gives it to numba as LLVM code. They are kept apart so that a process
with a warm cache never imports numba. Addresses are plain integers, `p` a pointer to int64.
"""

from __future__ import annotations

from typing import NoReturn


def compiled_only() -> NoReturn:
    """The body of every such name, as Python sees it: only compiled code has it."""
    raise RuntimeError("this operation is one of compiled kernels; Python cannot call it")


def pointer(address, kind):  # type: ignore[no-untyped-def]
    """The integer `address` as a pointer of this kind (`"T*"`, `"int*"` ...)."""
    compiled_only()


def offset(p, count):  # type: ignore[no-untyped-def]
    """The pointer `count` elements after `p`."""
    compiled_only()


def scalar(bits, kind):  # type: ignore[no-untyped-def]
    """The low bits of an integer read as a number of this kind (`"T"`, `"double"`)."""
    compiled_only()


def call(function, start, stop, thread, args):  # type: ignore[no-untyped-def]
    """Call the kernel entry at the address `function`."""
    compiled_only()


def atomic_load(p, index):  # type: ignore[no-untyped-def]
    """p[index], seeing all that its writer wrote before it."""
    compiled_only()


def atomic_store(p, index, value):  # type: ignore[no-untyped-def]
    """p[index] = value, after everything written so far."""
    compiled_only()


def atomic_add(p, index, value):  # type: ignore[no-untyped-def]
    """p[index] += value in one step; returns what was there before."""
    compiled_only()


def pause():  # type: ignore[no-untyped-def]
    """Tell the core that this thread is only waiting."""
    compiled_only()


def give_way():  # type: ignore[no-untyped-def]
    """Let another thread have this core."""
    compiled_only()
