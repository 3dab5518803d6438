"""The threads that run programs: Python threads that live in native code, where they hold no GIL."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from functools import cache
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...logs import log
from . import launcher, quota, workspace
from .native import function_address

PATIENCE = 20_000  # polls, most of them yields: a few milliseconds, then a worker sleeps


class Pool:
    """`count` threads, the caller's included; workers sleep when nothing has run for a while."""

    def __init__(self, count: int):
        self.count = count
        workspace.provide_scratch(count)
        # One block for all programs; 64-byte aligned so that its places are cache lines.
        raw = np.zeros(launcher.CONTROL + 8, np.int64)
        self._control = raw[(-raw.ctypes.data % 64) // 8 :][: launcher.CONTROL]
        self._control[launcher.THREADS] = count
        self._wake = threading.Semaphore(0)
        self._asleep = 0
        self._guard = threading.Lock()
        self._block = self._control.ctypes.data
        i64, pointer = ctypes.c_int64, ctypes.c_void_p
        # Numba's calling convention: pointers for a result and an exception in front, an int back.
        self._result = ctypes.c_int64()
        self._nothing = ctypes.addressof(self._result)
        run = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, i64, i64, pointer)
        self._run = run(function_address(launcher.run_rows, "long*, int, int, long*"))
        serve = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, i64, i64)
        self._serve = serve(function_address(launcher.serve, "long*, int, int"))
        self._threads = [threading.Thread(target=self._work, args=(i,), daemon=True) for i in range(1, count)]
        started = [thread for thread in self._threads if self._starts(thread)]
        if len(started) < len(self._threads):
            log.warning(
                "%d threads wanted, but the system starts no more than %d for this process; "
                "results are the same, with --threads or CAFFE_LITE_THREADS nothing more is tried",
                count, len(started) + 1,
            )  # fmt: skip
        self._threads = started

    @staticmethod
    def _starts(thread: threading.Thread) -> bool:
        try:
            thread.start()
        except RuntimeError:  # a limit on processes, or no memory for its stack
            return False
        return True

    def _work(self, number: int) -> None:
        result = ctypes.c_int64()
        nothing = ctypes.addressof(result)
        while not self._control[launcher.STOP]:
            self._serve(nothing, nothing, self._block, number, PATIENCE)
            with self._guard:
                self._asleep += 1
            self._wake.acquire()

    def run(self, table: int, first: int, last: int) -> None:
        """Run rows of the table at this address; one program at a time, others wait."""
        with _busy:
            if self._asleep:
                self._rouse()
            self._run(self._nothing, self._nothing, table, first, last, self._block)

    def _rouse(self) -> None:
        with self._guard:
            if self._asleep:
                self._wake.release(self._asleep)  # in front of the next line: Ctrl-C between them leaves nobody asleep
                self._asleep = 0

    def close(self) -> None:
        """Stop and join the workers."""
        self._control[launcher.STOP] = 1
        self._wake.release(self.count)
        for thread in self._threads:
            thread.join(timeout=1)


_pool: Pool | None = None
_making = threading.Lock()
_busy = threading.RLock()  # one for all pools: another thread may still be in one that set_threads has replaced
_wanted: int | None = None


def default_threads() -> int:
    """Threads to use unless told otherwise: $CAFFE_LITE_THREADS, else the processors it may use (`quota`)."""
    named = os.environ.get("CAFFE_LITE_THREADS")
    if named:
        return _checked(named, "CAFFE_LITE_THREADS")
    return _processors()


@cache
def _processors() -> int:
    """Asked once: the answer is read from a dozen files, and planning a net wants it hundreds of times."""
    return quota.processors()


def _checked(count: Any, what: str) -> int:
    if not str(count).isdecimal() or not 1 <= int(count) <= 1024:
        raise ConfigError(f"{what}: must be a number of threads from 1 to 1024, got {count!r}")
    return int(count)


def threads() -> int:
    """How many threads run kernels."""
    return _pool.count if _pool else (_wanted or default_threads())


def set_threads(count: int) -> None:
    """Run kernels on this many threads from now on; results are the same for every number."""
    global _pool, _wanted
    _wanted = _checked(count, "threads")
    if _pool and _pool.count != _wanted:
        with _busy:
            _pool.close()
            _pool = None


def run(table: int, first: int, last: int) -> None:
    """Run rows of a table on the pool, which starts with the first call."""
    global _pool
    if _pool is None:
        with _making:  # two pools would run two programs at once, in the same workspaces
            if _pool is None:
                _pool = Pool(threads())
    _pool.run(table, first, last)


def _forget() -> None:
    """After a fork the threads are gone: the child makes its own."""
    global _pool, _making, _busy
    _pool, _making, _busy = None, threading.Lock(), threading.RLock()


def _close() -> None:
    if _pool:
        _pool.close()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
